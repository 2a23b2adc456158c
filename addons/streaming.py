"""Bodies that are scanned while they arrive: the addon's side of ``engine.inspection``."""

from collections.abc import Callable

from mitmproxy.http import HTTPFlow
from mitmproxy.http import Message as HttpMessage

from addons.coding import DISGUISED, disguised
from addons.decoding import Decoder, Undecodable
from addons.icap_message import request_message, response_message
from addons.scanning import Scanning, decoder, skip
from appliance.config.auditor import Auditor
from appliance.domain.errors import ScanError
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from appliance.engine.inspection import PLANS, Fate, Trickle, Waiting
from icap.client import Adapted, Body, Message, Room, Service

_START = 4
"""Octets by which gzip is looked at."""
INSPECTED = {True: "arcus.inspected.request", False: "arcus.inspected.response"}

type Offer = Callable[["Streamed"], Waiting | None]
"""The page that the client of a response may get while it is scanned, if any."""
type Settle = Callable[["Streamed", Adapted | None], None]
"""Apply a verdict; None: there is none, because the body went beyond a limit (``Streamed.over``)."""


class Streamed:
    """One body (``engine.inspection.Inspection``). ``over``: the limit that it broke, when it did."""

    def __init__(
        self,
        flow: HTTPFlow,
        notes: TaskNotes,
        scanning: Scanning,
        service: Service,
        body: Body,
        settle: Settle,
        *,
        request: bool,
        decoder: Decoder | None = None,
    ) -> None:
        self.flow = flow
        self.notes = notes
        self.scanning = scanning
        self.body = body
        self.shown = body if decoder is None else body.another()
        self.request = request
        self.fate = Fate.DELIVER
        self.why = ""
        self.started = False
        self.replacement: Body | None = None
        self.waiting: Waiting | None = None
        self.over: NotScanned | None = None
        self._service = service
        self._settle = settle
        self._decoder = decoder
        self.judged = False
        self._begun = False
        """Enough has come to see how it begins."""
        self._unscanned_from: tuple[NotScanned, int] | None = None
        self._passed = 0

    @property
    def side(self) -> str:
        return "request" if self.request else "response"

    @property
    def _http(self) -> HttpMessage:
        return self.flow.request if self.request or self.flow.response is None else self.flow.response

    @property
    def auditor(self) -> Auditor:
        return self.scanning.auditor

    @property
    def trickle(self) -> Trickle | None:
        given = self.auditor.large_bodies.trickle
        if given is None or self.request or self.waiting is not None:
            return None
        return Trickle(given.after, given.rate, given.withhold)

    # -- the engine's side -----------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        body = self.body
        if body.ended or body.error is not None:
            return data
        left = self.auditor.max_scan_size - body.size
        if self.judged or len(data) <= left:
            return self._keep(data)
        if kept := self._keep(data[:left]):
            return kept + data[left:]
        if self.auditor.oversize == "head":
            body.end()
            self.shown.end()
            self.skip(NotScanned.HEAD_ONLY, self.auditor.max_scan_size)
        else:
            self._break(NotScanned.TOO_LARGE, Reason.BODY_TOO_LARGE, f"more than {self.auditor.max_scan_size} bytes")
            body.abort(self.shown.error or ScanError(Reason.BODY_TOO_LARGE))
        return data[left:]

    def _keep(self, data: bytes) -> bytes:
        try:
            self.body.feed(data)
        except ScanError as error:
            if not self.judged:
                self._break(NotScanned.NO_ROOM, error.reason, error.detail)
            return data
        if self.judged or self.over is not None:
            return b""
        if self._decoder is not None:
            self._show(self._decoder, data)
        elif not self._begun and self.body.size >= _START:
            self._begun = True
            if disguised(self._http.headers, self.body.read(0, _START)):
                self._break(NotScanned.UNDECODABLE, Reason.NOT_SCANNABLE, DISGUISED)
        return b""

    def _show(self, decoder: Decoder, data: bytes) -> None:
        """To the service the body goes unpacked."""
        try:
            for piece in decoder.feed(data):
                self.shown.feed(piece)
        except Undecodable as error:
            self._break(NotScanned.UNDECODABLE, Reason.NOT_SCANNABLE, str(error))
        except ScanError as error:
            self._break(NotScanned.NO_ROOM, error.reason, error.detail)

    def _break(self, over: NotScanned, reason: Reason, detail: str) -> None:
        """It cannot be scanned to its end."""
        self.over = over
        self.shown.abort(ScanError(reason, detail))

    def end(self) -> None:
        if self._decoder is not None and self.over is None and not self.judged:
            try:
                self._decoder.end()
            except Undecodable as error:
                self._break(NotScanned.UNDECODABLE, Reason.NOT_SCANNABLE, str(error))
        self.body.end()
        self.shown.end()

    async def judge(self) -> None:
        adapted = await self._service.adapt(self._message()) if self.shown.error is None else None
        self.judged = True
        found = adapted is not None and adapted.verdict.outcome is Outcome.BLOCKED
        self._settle(self, adapted if found or self.over is None else None)  # what was found counts, whatever came after it

    def passed(self, size: int) -> None:
        name = f"{self.side}_bytes"
        setattr(self.notes, name, getattr(self.notes, name) + size)
        self._passed += size
        if self._unscanned_from is not None:
            word, start = self._unscanned_from
            self.notes.unscanned_bytes[f"{self.side}: {word.word}"] = max(0, self._passed - start)

    def close(self) -> None:
        self.body.close()
        self.shown.close()
        if self.replacement is not None:
            self.replacement.close()

    # -- for the verdict -------------------------------------------------------------------------------------------

    @property
    def transferred(self) -> int | None:
        """Bytes that the verdict is about, where they are not those that the service was shown."""
        return self.body.size if self._decoder is not None else None

    @property
    def whole(self) -> bool:
        """``body`` is all of it."""
        return self.body.ended and self._unscanned_from is None

    @property
    def may_pass(self) -> bool:
        """Whether what broke a limit goes on without a verdict."""
        auditor = self.auditor
        policy = auditor.content_codings.undecodable if self.over is NotScanned.UNDECODABLE else auditor.oversize
        return policy == "bypass"

    def skip(self, word: NotScanned, start: int = 0) -> None:
        """What goes on from ``start`` has not been judged."""
        skip(self.notes, self.side, word)
        self._unscanned_from = (word, start)

    def stop(self, reason: Reason, detail: str) -> None:
        """What the client has of it is all that it gets."""
        self.notes.fail(reason, detail)
        self.why = f"{reason.word}: {detail}" if detail else reason.word
        self.fate = Fate.RESET if self.started else Fate.REPLACE
        if self.started and self.flow.response is not None:
            self.notes.status = self.flow.response.status_code

    def _message(self) -> Message:
        plain = self._decoder is not None
        if self.request or self.flow.response is None:
            return request_message(self.flow, self.scanning, self.shown, plain=plain)
        return response_message(self.flow, self.flow.response, self.scanning, self.shown, plain=plain)


class StreamPlan:
    """How one body is held, and inspected when it is too large for that (``engine.inspection.Plan``)."""

    def __init__(
        self, above: int, room: Room, make: Callable[[Body], Streamed], *, at_once: bool, offer: Offer | None = None
    ) -> None:
        self.above = above
        self.at_once = at_once
        self._room = room
        self._make = make
        self._offer = offer

    def take(self, size: int) -> bool:
        return self._room.reserve(size)

    def give_back(self, size: int) -> None:
        self._room.give_back(size, 0)

    def start(self) -> Streamed:
        streamed = self._make(Body(self._room))
        if self._offer is not None and not streamed.request:
            streamed.waiting = self._offer(streamed)
        streamed.flow.metadata[INSPECTED[streamed.request]] = True
        return streamed


def plan(
    flow: HTTPFlow,
    notes: TaskNotes,
    scanning: Scanning,
    service: Service,
    room: Room,
    settle: Settle,
    *,
    request: bool,
    offer: Offer | None = None,
) -> None:
    """Leave a plan on the flow for the body whose head is here."""
    message = flow.request if request or flow.response is None else flow.response
    undo = _decoder(message, scanning.auditor)
    above = 0 if undo is not None else min(scanning.auditor.large_bodies.above, scanning.auditor.max_scan_size)
    length = message.headers.get("content-length", "")
    no_body = not request and flow.request.method == "HEAD"
    at_once = length.isdigit() and int(length) > above and not no_body

    def make(body: Body) -> Streamed:
        return Streamed(flow, notes, scanning, service, body, settle, request=request, decoder=undo)

    flow.metadata[PLANS[request]] = StreamPlan(above, room, make, at_once=at_once, offer=offer)


def _decoder(message: HttpMessage, auditor: Auditor) -> Decoder | None:
    try:
        return decoder(message, auditor)
    except Undecodable:
        return None  # there is no body: ``refused`` has looked


def inspected(flow: HTTPFlow, *, request: bool) -> bool:
    """The body was judged as it arrived: there is nothing left to scan."""
    return INSPECTED[request] in flow.metadata
