"""What is done with a verdict: a message goes on, is exchanged, or a page stands in its place, and the notes say which."""

import time
from collections.abc import Callable

from mitmproxy.http import HTTPFlow, Request, Response

from addons.carry import Pages, answer, mark_ours
from addons.coding import DISGUISED, disguised
from addons.icap_message import replace_request, to_response
from addons.parts import Part, cut
from addons.quarantining import Quarantine, note_packed, put_away, put_away_message
from addons.sampling import Samples, keep
from addons.scanning import Scanning, Stop, skip, write_down
from addons.streaming import Streamed
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.engine.inspection import Fate
from appliance.policy.scan_rules import Direction
from icap.client import Adapted, Body


class Settlement:
    """``page``: what stands in place of what is stopped. ``count`` is told of each verdict. ``quarantine``: where infected
    bodies go, if anywhere; ``samples``: where others do."""

    def __init__(
        self, page: Pages, count: Callable[[ScanVerdict], None], quarantine: Quarantine | None, samples: Samples | None = None
    ) -> None:
        self.count = count
        self._page = page
        self._quarantine = quarantine
        self._samples = samples

    def stop(self, flow: HTTPFlow, notes: TaskNotes, stop: Stop | None) -> bool:
        """Put a page in place; False: there is no reason to."""
        if stop is None:
            return False
        notes.fail(*stop)
        self.show(flow, notes)
        return True

    def show(self, flow: HTTPFlow, notes: TaskNotes) -> None:
        """Put the page in place that says what the notes say."""
        answer(flow, self._page(notes, flow.request.headers.get("accept", "")), notes)

    def disguised(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, message: Request | Response) -> bool:
        """Whether the service would take its body for something else than a browser does: stopped, or passed unscanned."""
        content = message.raw_content or b""
        if not disguised(message.headers, content[:4]):
            return False
        if scanning.auditor.content_codings.undecodable == "block":
            return self.stop(flow, notes, (Reason.NOT_SCANNABLE, DISGUISED))
        skip(notes, "request" if message is flow.request else "response", NotScanned.UNDECODABLE, len(content))
        return True

    def exchange(self, flow: HTTPFlow, notes: TaskNotes, adapted: Adapted) -> None:
        """Put what the service made of a message in its place."""
        if adapted.kind == "request":
            replace_request(flow, adapted)
        elif adapted.kind == "response" and adapted.verdict.method == "RESPMOD":
            flow.response = to_response(adapted, flow)
        elif adapted.kind == "response":
            self._deliver(flow, notes, adapted)  # the service answers the request itself (RFC 3507 section 4.8.2)
            notes.conn.events.append("icap_request_satisfied")

    def stopped(
        self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, adapted: Adapted, streamed: Streamed | None = None
    ) -> bool:
        """Write the verdict down. True: the message was stopped, and a page is in place."""
        verdict = self._write_down(flow, adapted, notes, streamed)
        if verdict.outcome is Outcome.BLOCKED and adapted.head and scanning.auditor.icap_block_page == "service":
            notes.fail(verdict.reason, verdict.signature or verdict.detail)
            self._deliver(flow, notes, adapted)
            return True
        stopped = verdict.outcome in (Outcome.BLOCKED, Outcome.ERROR)
        return stopped and self.stop(flow, notes, (verdict.reason, verdict.signature or verdict.detail))

    def _write_down(self, flow: HTTPFlow, adapted: Adapted, notes: TaskNotes, streamed: Streamed | None) -> ScanVerdict:
        for each in adapted.verdicts:
            self.count(each)
        verdict = write_down(adapted, notes, streamed.transferred if streamed is not None else None)
        if streamed is None or streamed.transferred is None:
            note_packed(flow, notes, verdict)
        if self._samples is not None:
            keep(self._samples, flow, notes, verdict, streamed, time.time())
        if self._quarantine is not None:
            put_away(self._quarantine, flow, notes, verdict, streamed, time.time())
        return verdict

    def keep(self, flow: HTTPFlow, notes: TaskNotes, verdict: ScanVerdict, side: Direction, data: bytes) -> None:
        """An infected message of a stream, into quarantine."""
        if self._quarantine is not None:
            put_away_message(self._quarantine, flow, notes, verdict, side, data, time.time())

    def streamed(self, streamed: Streamed, adapted: Adapted | None) -> None:
        """The verdict on a body that was scanned as it arrived."""
        flow, notes, scanning = streamed.flow, streamed.notes, streamed.scanning
        if adapted is None:
            self._over(streamed)
        elif streamed.started:
            self._late(streamed, adapted)
        elif self.stopped(flow, notes, scanning, adapted, streamed):
            streamed.fate = Fate.REPLACE
        elif adapted.kind != "unmodified":
            self.exchange(flow, notes, adapted)
            streamed.fate = Fate.REPLACE
            streamed.replacement = adapted.body if isinstance(adapted.body, Body) else None
        else:
            if adapted.verdict.outcome is Outcome.BYPASSED:
                streamed.skip(NotScanned.SCAN_FAILED)
            if streamed.whole and (part := cut(flow, streamed.body.size)):
                streamed.fate, streamed.replacement = Fate.REPLACE, Part(streamed.body, *part)

    def _over(self, streamed: Streamed) -> None:
        """It went beyond a limit before there was a verdict."""
        if streamed.may_pass:
            streamed.skip(streamed.over or NotScanned.TOO_LARGE)
            return
        error = streamed.shown.error
        reason, detail = (error.reason, error.detail) if error is not None else (Reason.BODY_TOO_LARGE, "")
        streamed.stop(reason, detail)
        if streamed.fate is Fate.REPLACE:
            self.stop(streamed.flow, streamed.notes, (reason, detail))

    def _late(self, streamed: Streamed, adapted: Adapted) -> None:
        """Some of the body is with the client: it gets the rest as it is, or none of it."""
        verdict = self._write_down(streamed.flow, adapted, streamed.notes, streamed)
        if verdict.outcome in (Outcome.BLOCKED, Outcome.ERROR):
            streamed.stop(verdict.reason, verdict.signature or verdict.detail)
        elif adapted.kind != "unmodified":
            streamed.stop(Reason.ICAP_BLOCKED, "the service changed a body that was partly sent")
            if isinstance(adapted.body, Body):
                adapted.body.close()
        elif verdict.outcome is Outcome.BYPASSED:
            streamed.skip(NotScanned.SCAN_FAILED)

    def _deliver(self, flow: HTTPFlow, notes: TaskNotes, adapted: Adapted) -> None:
        """The service's own answer, in place of the server's."""
        flow.response = to_response(adapted, flow)
        mark_ours(flow)
        notes.status = flow.response.status_code
