"""ICAP: each request through REQMOD, each response through RESPMOD, before it goes on.

A body that is to be scanned is held, up to the tenant's limit; without a service it streams. When a scan fails, the
tenant's configuration says whether the message is blocked or passed, and the record says which.
"""

from collections.abc import Awaitable, Callable, Mapping

from mitmproxy.http import HTTPFlow

from addons.carry import Pages, answer, is_ours, mark_ours, task_of
from addons.coding import ask_for_whole, narrow_accepted
from addons.icap_message import replace_request, request_message, response_message, to_response
from addons.scan_route import choose, service_of
from addons.scanning import Scanning, Stop, endless, hold, pass_unscanned, sampled, write_down
from appliance.domain.ids import TenantId
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from icap.client import Adapted, Service


class Adapt:
    def __init__(self, scanning: Mapping[TenantId, Scanning], page: Pages, count: Callable[[ScanVerdict], None]) -> None:
        self._scanning = scanning
        self._page = page
        self._count = count

    def requestheaders(self, flow: HTTPFlow) -> None:
        if flow.response is not None:
            return
        notes, scanning = self._of(flow)
        if scanning.rules.may_scan("response") and sampled(notes, scanning.auditor):
            narrow_accepted(flow.request.headers)
            if scanning.auditor.ranges == "whole":
                ask_for_whole(flow.request.headers)
        route = choose(flow, scanning, "request")
        if not route.use or not sampled(notes, scanning.auditor):
            pass_unscanned(notes, flow.request, route.not_scanned or "not_sampled")
        else:
            self._stop(flow, notes, hold(flow, notes, scanning.auditor, flow.request))

    def request(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if flow.response is not None or flow.request.stream:
            return None  # refused before there was a tenant to ask about, or streaming
        notes, scanning = self._of(flow)
        service = service_of(flow, scanning, "request")
        return None if service is None else self._reqmod(flow, notes, scanning, service)

    def responseheaders(self, flow: HTTPFlow) -> None:
        if is_ours(flow) or flow.response is None:
            return
        notes, scanning = self._of(flow)
        route = choose(flow, scanning, "response")
        kind = flow.response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if flow.response.status_code == 101 and scanning.auditor.websocket == "block":
            self._stop(flow, notes, (Reason.NOT_SCANNABLE, "WebSocket"))
        elif not route.use or not sampled(notes, scanning.auditor):
            pass_unscanned(notes, flow.response, route.not_scanned or "not_sampled")
        elif kind == "text/event-stream":
            self._stop(flow, notes, endless(notes, scanning.auditor, flow.response))
        elif flow.response.status_code != 101:
            self._stop(flow, notes, hold(flow, notes, scanning.auditor, flow.response))

    def response(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if is_ours(flow) or flow.response is None or flow.response.stream or flow.response.status_code == 101:
            return None
        notes, scanning = self._of(flow)
        service = service_of(flow, scanning, "response")
        return None if service is None else self._respmod(flow, notes, scanning, service)

    def _of(self, flow: HTTPFlow) -> tuple[TaskNotes, Scanning]:
        notes = task_of(flow)
        return notes, self._scanning[notes.conn.tenant or TenantId("")]

    def _stop(self, flow: HTTPFlow, notes: TaskNotes, stop: Stop | None) -> None:
        if stop is None:
            return
        notes.fail(*stop)
        answer(flow, self._page(notes, flow.request.headers.get("accept", "")), notes)

    async def _reqmod(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, service: Service) -> None:
        adapted = await service.adapt(request_message(flow, scanning))
        if self._judged(flow, notes, scanning, adapted):
            return
        if adapted.kind == "request":
            replace_request(flow, adapted)
        elif adapted.kind == "response":
            self._deliver(flow, notes, adapted)  # the service answers the request itself (RFC 3507 section 4.8.2)
            notes.conn.events.append("icap_request_satisfied")

    async def _respmod(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, service: Service) -> None:
        assert flow.response is not None  # noqa: S101 - ``response`` has looked
        adapted = await service.adapt(response_message(flow, flow.response, scanning))
        if not self._judged(flow, notes, scanning, adapted) and adapted.kind == "response":
            flow.response = to_response(adapted, flow)

    def _judged(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, adapted: Adapted) -> bool:
        """Write the verdict down. True: the message was stopped, and a page is in place."""
        verdict = write_down(adapted, notes)
        for each in adapted.verdicts:
            self._count(each)
        if verdict.outcome is Outcome.BLOCKED and adapted.head and scanning.auditor.icap_block_page == "service":
            notes.fail(verdict.reason, verdict.signature or verdict.detail)
            self._deliver(flow, notes, adapted)
            return True
        if verdict.outcome in (Outcome.BLOCKED, Outcome.ERROR):
            self._stop(flow, notes, (verdict.reason, verdict.signature or verdict.detail))
            return True
        return False

    def _deliver(self, flow: HTTPFlow, notes: TaskNotes, adapted: Adapted) -> None:
        """The service's own answer, in place of the server's."""
        flow.response = to_response(adapted, flow)
        mark_ours(flow)
        notes.status = flow.response.status_code
