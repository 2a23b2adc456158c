"""ICAP: each request through REQMOD, each response through RESPMOD, before it goes on.

A small body is held for its scan, a large one is scanned as it arrives (``addons.streaming``); without a service it streams.
When a scan fails, the tenant's configuration says whether the message is blocked or passed, and the record says which.
"""

from collections.abc import Awaitable, Callable, Mapping

from mitmproxy.http import HTTPFlow

from addons.carry import Pages, is_ours, task_of
from addons.coding import asks_for_part, narrow_accepted, narrow_units
from addons.icap_message import request_message, response_message
from addons.messages import Means, judge_websocket
from addons.parts import cut_held, take_range
from addons.quarantining import Quarantine
from addons.sampling import Samples
from addons.scan_route import choose, service_of
from addons.scanning import (
    Scanning,
    endless,
    has_no_end,
    media_type,
    part,
    pass_unscanned,
    reason_of,
    refused,
    sampled,
)
from addons.settlement import Settlement
from addons.streaming import Offer, inspected, plan
from addons.streams import judge_units, judge_when_it_pauses, judged_by_unit
from addons.trailers import settle_trailers
from appliance.domain.ids import TenantId
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import ScanVerdict
from appliance.policy.scan_rules import Direction
from icap.client import Room, Service


class Adapt:
    """``room``: what all bodies that wait for their scan may take; no tenant can take all of it from the others.
    ``quarantine``: where infected ones go, if anywhere. ``offer``: who gets a page instead of waiting. ``samples``: where
    copies of clean ones go."""

    def __init__(
        self,
        scanning: Mapping[TenantId, Scanning],
        page: Pages,
        count: Callable[[ScanVerdict], None],
        room: Room | None = None,
        quarantine: Quarantine | None = None,
        offer: Offer | None = None,
        samples: Samples | None = None,
    ) -> None:
        room = room if room is not None else Room()
        self._rooms = {tenant: room.part() if len(scanning) > 1 else room for tenant in scanning}
        self._scanning = scanning
        self._offer = offer
        self._settlement = Settlement(page, count, quarantine, samples)

    def requestheaders(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if flow.response is not None:
            return None
        notes, scanning = self._of(flow)
        if scanning.rules.may_scan("response") and sampled(notes, scanning.auditor):
            if scanning.auditor.content_codings.narrow:
                narrow_accepted(flow.request.headers)
            if scanning.auditor.ranges == "whole":
                take_range(flow)
            elif scanning.auditor.ranges == "block" and asks_for_part(flow.request.headers):
                self._settlement.stop(flow, notes, (Reason.NOT_SCANNABLE, "Range, a part of a resource"))
                return None
        route = choose(flow, scanning, "request")
        if not route.use or not sampled(notes, scanning.auditor):
            pass_unscanned(notes, flow.request, *reason_of(route))
        elif judged_by_unit(flow, scanning.auditor, flow.request):
            return self._head_first(flow, notes, scanning, route.use)
        elif scanning.auditor.event_stream == "bypass" and has_no_end(kind := media_type(flow.request), scanning.auditor):
            endless(notes, scanning.auditor, flow.request, kind)
        elif (
            not self._settlement.stop(flow, notes, refused(flow, notes, scanning.auditor, flow.request))
            and not flow.request.stream
        ):
            self._plan(flow, notes, scanning, scanning.services[route.use, "request"], request=True)
        return None

    async def _head_first(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, use: str) -> None:
        """A request whose body is judged unit by unit goes on before its first unit is there: its head is judged now."""
        if scanning.auditor.content_codings.narrow:
            narrow_units(flow.request.headers)
        await self._reqmod(flow, notes, scanning, scanning.services[use, "request"])
        if flow.response is None:
            self._by_unit(flow, notes, scanning, "request", use)

    def _by_unit(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, side: Direction, use: str) -> None:
        stop = judge_units(
            flow, notes, scanning, side, use, self._means(notes), lambda: self._settlement.show(flow, notes)
        )  # fmt: skip
        self._settlement.stop(flow, notes, stop)

    def _means(self, notes: TaskNotes) -> Means:
        return Means(self._rooms[notes.conn.tenant or TenantId("")], self._settlement.count, self._settlement.keep)

    def request(self, flow: HTTPFlow) -> Awaitable[None] | None:
        body = self._request_body(flow)
        return body if not flow.request.trailers or flow.response is not None else self._with_trailers(flow, "request", body)

    def _request_body(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if flow.response is not None or flow.request.stream or inspected(flow, request=True):
            return None  # refused before there was a tenant to ask about, streaming, or judged
        notes, scanning = self._of(flow)
        service = service_of(flow, scanning, "request")
        if service is None or self._settlement.disguised(flow, notes, scanning, flow.request):
            return None
        return self._reqmod(flow, notes, scanning, service)

    def responseheaders(self, flow: HTTPFlow) -> None:
        if is_ours(flow) or flow.response is None:
            return
        notes, scanning = self._of(flow)
        route = choose(flow, scanning, "response")
        kind = media_type(flow.response)
        if flow.response.status_code == 101 and scanning.auditor.websocket == "block":
            self._settlement.stop(flow, notes, (Reason.NOT_SCANNABLE, "WebSocket"))
        elif flow.response.status_code == 101 and scanning.auditor.websocket == "scan" and sampled(notes, scanning.auditor):
            self._settlement.stop(flow, notes, judge_websocket(flow, notes, scanning, self._means(notes)))
        elif not route.use or not sampled(notes, scanning.auditor):
            pass_unscanned(notes, flow.response, *reason_of(route))
        elif judged_by_unit(flow, scanning.auditor, flow.response):
            self._by_unit(flow, notes, scanning, "response", route.use)
        elif has_no_end(kind, scanning.auditor):
            self._settlement.stop(flow, notes, endless(notes, scanning.auditor, flow.response, kind))
        elif flow.response.status_code != 101 and not self._settlement.stop(
            flow, notes, part(notes, scanning.auditor, flow.response)
        ):
            stopped = self._settlement.stop(flow, notes, refused(flow, notes, scanning.auditor, flow.response))
            if not stopped and not flow.response.stream:
                self._plan(flow, notes, scanning, scanning.services[route.use, "response"], request=False)
                judge_when_it_pauses(
                    flow, notes, scanning, route.use, self._means(notes), lambda: self._settlement.show(flow, notes)
                )

    def response(self, flow: HTTPFlow) -> Awaitable[None] | None:
        body = self._response_body(flow)
        trailers = flow.response is not None and flow.response.trailers and not is_ours(flow)
        return self._with_trailers(flow, "response", body) if trailers else body

    async def _with_trailers(self, flow: HTTPFlow, side: Direction, body: Awaitable[None] | None) -> None:
        if body is not None:
            await body
        if is_ours(flow) or (side == "request" and flow.response is not None):
            return
        notes, scanning = self._of(flow)
        service = service_of(flow, scanning, side) if sampled(notes, scanning.auditor) else None
        await settle_trailers(flow, notes, scanning, self._settlement, side, service)

    def _response_body(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if is_ours(flow) or flow.response is None or flow.response.stream or flow.response.status_code == 101:
            return None
        if inspected(flow, request=False):
            return None
        notes, scanning = self._of(flow)
        service = service_of(flow, scanning, "response")
        if service is None or self._settlement.disguised(flow, notes, scanning, flow.response):
            return None
        return self._respmod(flow, notes, scanning, service)

    def _of(self, flow: HTTPFlow) -> tuple[TaskNotes, Scanning]:
        notes = task_of(flow)
        return notes, self._scanning[notes.conn.tenant or TenantId("")]

    def _plan(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, service: Service, *, request: bool) -> None:
        room = self._rooms[notes.conn.tenant or TenantId("")]
        plan(flow, notes, scanning, service, room, self._settlement.streamed, request=request, offer=self._offer)

    async def _reqmod(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, service: Service) -> None:
        adapted = await service.adapt(request_message(flow, scanning))
        if not self._settlement.stopped(flow, notes, scanning, adapted):
            self._settlement.exchange(flow, notes, adapted)

    async def _respmod(self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, service: Service) -> None:
        assert flow.response is not None  # noqa: S101 - ``response`` has looked
        adapted = await service.adapt(response_message(flow, flow.response, scanning))
        if not self._settlement.stopped(flow, notes, scanning, adapted):
            self._settlement.exchange(flow, notes, adapted)
            cut_held(flow)
