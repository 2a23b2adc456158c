"""ICAP: each request through REQMOD, each response through RESPMOD, before it goes on.

A small body is held for its scan, a large one is scanned as it arrives (``addons.streaming``); without a service it streams.
When a scan fails, the tenant's configuration says whether the message is blocked or passed, and the record says which.
"""

import time
from collections.abc import Awaitable, Callable, Mapping

from mitmproxy.http import HTTPFlow, Request, Response

from addons.carry import Pages, answer, is_ours, mark_ours, task_of
from addons.coding import DISGUISED, ask_for_whole, asks_for_part, disguised, narrow_accepted
from addons.icap_message import replace_request, request_message, response_message, to_response
from addons.messages import judge_websocket
from addons.quarantining import Quarantine, put_away
from addons.scan_route import choose, service_of
from addons.scanning import (
    Scanning,
    Stop,
    endless,
    has_no_end,
    media_type,
    part,
    pass_unscanned,
    reason_of,
    refused,
    sampled,
    skip,
    write_down,
)
from addons.streaming import Streamed, inspected, plan
from appliance.domain.ids import TenantId
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.engine.inspection import Fate
from icap.client import Adapted, Body, Room, Service


class Adapt:
    """``room``: what all bodies that wait for their scan may take; no tenant can take all of it from the others.
    ``quarantine``: where infected ones go, if anywhere."""

    def __init__(
        self,
        scanning: Mapping[TenantId, Scanning],
        page: Pages,
        count: Callable[[ScanVerdict], None],
        room: Room | None = None,
        quarantine: Quarantine | None = None,
    ) -> None:
        self._quarantine = quarantine
        room = room if room is not None else Room()
        self._rooms = {tenant: room.part() if len(scanning) > 1 else room for tenant in scanning}
        self._scanning = scanning
        self._page = page
        self._count = count

    def requestheaders(self, flow: HTTPFlow) -> None:
        if flow.response is not None:
            return
        notes, scanning = self._of(flow)
        if scanning.rules.may_scan("response") and sampled(notes, scanning.auditor):
            if scanning.auditor.content_codings.narrow:
                narrow_accepted(flow.request.headers)
            if scanning.auditor.ranges == "whole":
                ask_for_whole(flow.request.headers)
            elif scanning.auditor.ranges == "block" and asks_for_part(flow.request.headers):
                self._stop(flow, notes, (Reason.NOT_SCANNABLE, "Range, a part of a resource"))
                return
        route = choose(flow, scanning, "request")
        if not route.use or not sampled(notes, scanning.auditor):
            pass_unscanned(notes, flow.request, *reason_of(route))
        elif has_no_end(kind := media_type(flow.request), scanning.auditor):
            endless(notes, scanning.auditor, flow.request, kind)
        elif not self._stop(flow, notes, refused(flow, notes, scanning.auditor, flow.request)) and not flow.request.stream:
            self._plan(flow, notes, scanning, scanning.services[route.use, "request"], request=True)

    def request(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if flow.response is not None or flow.request.stream or inspected(flow, request=True):
            return None  # refused before there was a tenant to ask about, streaming, or judged
        notes, scanning = self._of(flow)
        service = service_of(flow, scanning, "request")
        if service is None or self._disguised(flow, notes, scanning, flow.request):
            return None
        return self._reqmod(flow, notes, scanning, service)

    def responseheaders(self, flow: HTTPFlow) -> None:
        if is_ours(flow) or flow.response is None:
            return
        notes, scanning = self._of(flow)
        route = choose(flow, scanning, "response")
        kind = media_type(flow.response)
        if flow.response.status_code == 101 and scanning.auditor.websocket == "block":
            self._stop(flow, notes, (Reason.NOT_SCANNABLE, "WebSocket"))
        elif flow.response.status_code == 101 and scanning.auditor.websocket == "scan" and sampled(notes, scanning.auditor):
            room = self._rooms[notes.conn.tenant or TenantId("")]
            self._stop(flow, notes, judge_websocket(flow, notes, scanning, room, self._count))
        elif not route.use or not sampled(notes, scanning.auditor):
            pass_unscanned(notes, flow.response, *reason_of(route))
        elif has_no_end(kind, scanning.auditor):
            self._stop(flow, notes, endless(notes, scanning.auditor, flow.response, kind))
        elif flow.response.status_code != 101 and not self._stop(flow, notes, part(notes, scanning.auditor, flow.response)):
            stopped = self._stop(flow, notes, refused(flow, notes, scanning.auditor, flow.response))
            if not stopped and not flow.response.stream:
                self._plan(flow, notes, scanning, scanning.services[route.use, "response"], request=False)

    def response(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if is_ours(flow) or flow.response is None or flow.response.stream or flow.response.status_code == 101:
            return None
        if inspected(flow, request=False):
            return None
        notes, scanning = self._of(flow)
        service = service_of(flow, scanning, "response")
        if service is None or self._disguised(flow, notes, scanning, flow.response):
            return None
        return self._respmod(flow, notes, scanning, service)

    def _of(self, flow: HTTPFlow) -> tuple[TaskNotes, Scanning]:
        notes = task_of(flow)
        return notes, self._scanning[notes.conn.tenant or TenantId("")]

    def _plan(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, service: Service, *, request: bool) -> None:
        room = self._rooms[notes.conn.tenant or TenantId("")]
        plan(flow, notes, scanning, service, room, self._settle, request=request)

    def _stop(self, flow: HTTPFlow, notes: TaskNotes, stop: Stop | None) -> bool:
        if stop is None:
            return False
        notes.fail(*stop)
        answer(flow, self._page(notes, flow.request.headers.get("accept", "")), notes)
        return True

    def _disguised(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, message: Request | Response) -> bool:
        """Whether the service would take its body for something else than a browser does: stopped, or passed unscanned."""
        content = message.raw_content or b""
        if not disguised(message.headers, content[:4]):
            return False
        if scanning.auditor.content_codings.undecodable == "block":
            return self._stop(flow, notes, (Reason.NOT_SCANNABLE, DISGUISED))
        skip(notes, "request" if message is flow.request else "response", NotScanned.UNDECODABLE, len(content))
        return True

    async def _reqmod(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, service: Service) -> None:
        adapted = await service.adapt(request_message(flow, scanning))
        if not self._judged(flow, notes, scanning, adapted):
            self._exchange(flow, notes, adapted)

    async def _respmod(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, service: Service) -> None:
        assert flow.response is not None  # noqa: S101 - ``response`` has looked
        adapted = await service.adapt(response_message(flow, flow.response, scanning))
        if not self._judged(flow, notes, scanning, adapted):
            self._exchange(flow, notes, adapted)

    def _exchange(self, flow: HTTPFlow, notes: TaskNotes, adapted: Adapted) -> None:
        """Put what the service made of a message in its place."""
        if adapted.kind == "request":
            replace_request(flow, adapted)
        elif adapted.kind == "response" and adapted.verdict.method == "RESPMOD":
            flow.response = to_response(adapted, flow)
        elif adapted.kind == "response":
            self._deliver(flow, notes, adapted)  # the service answers the request itself (RFC 3507 section 4.8.2)
            notes.conn.events.append("icap_request_satisfied")

    def _judged(
        self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, adapted: Adapted, streamed: Streamed | None = None
    ) -> bool:
        """Write the verdict down. True: the message was stopped, and a page is in place."""
        verdict = self._write_down(flow, adapted, notes, streamed)
        if verdict.outcome is Outcome.BLOCKED and adapted.head and scanning.auditor.icap_block_page == "service":
            notes.fail(verdict.reason, verdict.signature or verdict.detail)
            self._deliver(flow, notes, adapted)
            return True
        stopped = verdict.outcome in (Outcome.BLOCKED, Outcome.ERROR)
        return stopped and self._stop(flow, notes, (verdict.reason, verdict.signature or verdict.detail))

    def _write_down(self, flow: HTTPFlow, adapted: Adapted, notes: TaskNotes, streamed: Streamed | None) -> ScanVerdict:
        for each in adapted.verdicts:
            self._count(each)
        verdict = write_down(adapted, notes, streamed.transferred if streamed is not None else None)
        if self._quarantine is not None:
            put_away(self._quarantine, flow, notes, verdict, streamed, time.time())
        return verdict

    def _settle(self, streamed: Streamed, adapted: Adapted | None) -> None:
        """The verdict on a body that was scanned as it arrived."""
        flow, notes, scanning = streamed.flow, streamed.notes, streamed.scanning
        if adapted is None:
            self._over(streamed)
        elif streamed.started:
            self._late(streamed, adapted)
        elif self._judged(flow, notes, scanning, adapted, streamed):
            streamed.fate = Fate.REPLACE
        elif adapted.kind != "unmodified":
            self._exchange(flow, notes, adapted)
            streamed.fate = Fate.REPLACE
            streamed.replacement = adapted.body if isinstance(adapted.body, Body) else None
        elif adapted.verdict.outcome is Outcome.BYPASSED:
            streamed.skip(NotScanned.SCAN_FAILED)

    def _over(self, streamed: Streamed) -> None:
        """It went beyond a limit before there was a verdict."""
        if streamed.may_pass:
            streamed.skip(streamed.over or NotScanned.TOO_LARGE)
            return
        error = streamed.shown.error
        reason, detail = (error.reason, error.detail) if error is not None else (Reason.BODY_TOO_LARGE, "")
        streamed.stop(reason, detail)
        if streamed.fate is Fate.REPLACE:
            self._stop(streamed.flow, streamed.notes, (reason, detail))

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
