"""A request and its response whose bodies are streams of units, each judged before it goes on (``engine.messages``)."""

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
    ResponseTrailers,
)

from appliance.engine.adapting import AdaptingStream
from appliance.engine.body_gate import BodyGate
from appliance.engine.inspection import Awaited, Hold, Outlet, Uploading
from appliance.engine.messages import JUDGES, PAUSING, BodyJudge, Judged, Refusal


class JudgingStream(AdaptingStream):
    """The heads go on at once: who waits for events must learn that the stream is open."""

    def __init__(self, context: Context, stream_id: int) -> None:
        super().__init__(context, stream_id)
        self.gates: dict[bool, BodyGate] = {}
        self._pausing: tuple[commands.RequestWakeup, int] | None = None
        """What to wake up by while a body is held, and how much of it was there then."""

    def start_request_stream(self) -> CommandGenerator[None]:
        yield from super().start_request_stream()
        if self.client_state == self.state_stream_request_body and self._open(True):
            self.client_state = self.state_judge_request

    def start_response_stream(self) -> CommandGenerator[None]:
        yield from super().start_response_stream()
        if self._open(False):
            self.server_state = self.state_judge_response
        if True in self.gates:  # both talk: that the client says nothing for a while is no slow upload
            yield Uploading(self.flow, over=True)

    def _open(self, request: bool) -> bool:
        judge: BodyJudge | None = self.flow.metadata.get(JUDGES[request])
        reader = judge.reader() if judge is not None else None
        if judge is None or reader is None:
            return False

        async def room(outlet: Outlet) -> None:
            await outlet.room(self._taker(request), self.stream_id)

        self.gates[request] = BodyGate(self.flow, reader, judge, room)
        message = self.flow.request if request else self.flow.response
        if message is not None:
            message.stream = True
        return True

    def _taker(self, request: bool) -> Connection:
        return self.context.server if request else self.context.client

    # -- what arrives ----------------------------------------------------------------------------------------------

    def state_judge_request(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, RequestData):
            yield from self._admit(True, event.data)
        elif isinstance(event, RequestTrailers):
            self.flow.request.trailers = event.trailers
        elif isinstance(event, RequestEndOfMessage):
            yield from self._end(True)

    def state_judge_response(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, ResponseData):
            yield from self._admit(False, event.data)
        elif isinstance(event, ResponseTrailers) and self.flow.response is not None:
            self.flow.response.trailers = event.trailers
        elif isinstance(event, ResponseEndOfMessage):
            yield from self._end(False)

    def state_consume_response_body(self, event: events.Event) -> CommandGenerator[None]:
        yield from super().state_consume_response_body(event)
        if isinstance(event, ResponseData):
            yield from self._watch()

    def _watch(self) -> CommandGenerator[None]:
        """See whether a body that is held pauses."""
        judge: BodyJudge | None = self.flow.metadata.get(PAUSING)
        held = self.server_state == self.state_consume_response_body and len(self.response_body_buf)
        if judge is not None and judge.pause is not None and held and self._pausing is None:
            waking = commands.RequestWakeup(judge.pause)
            self._pausing = waking, held
            yield waking

    def _pause_over(self, then: int) -> CommandGenerator[None]:
        self._pausing = None
        body, response = bytes(self.response_body_buf), self.flow.response
        if self.server_state != self.state_consume_response_body or len(body) != then or response is None:
            yield from self._watch()
            return
        self._unreserve()
        self.response_body_buf.clear()
        self.flow.metadata[JUDGES[False]] = self.flow.metadata[PAUSING]
        response.stream = True
        yield from self.start_response_stream()
        gate = self.gates[False]
        gate.feed(body)
        gate.flush()
        yield from self._pass(False, gate)

    def _admit(self, request: bool, data: bytes) -> CommandGenerator[None]:
        gate = self.gates[request]
        gate.feed(data)
        yield from self._pass(request, gate)
        if gate.asking is not None:
            source = self._taker(not request)
            yield Hold(source, gate.free_or_soon if source.alpn == b"h2" else gate.free.wait)
        elif (waking := gate.watch()) is not None:
            yield waking

    def _end(self, request: bool) -> CommandGenerator[None]:
        gate = self.gates[request]
        gate.end()
        yield from self._pass(request, gate)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Wakeup) and self._pausing is not None and self._pausing[0] is event.command:
            return self._pause_over(self._pausing[1])
        if isinstance(event, Awaited | events.Wakeup):
            for request, gate in self.gates.items():
                if isinstance(event, Awaited) and gate.asking is event.command:
                    return self._judged(request, gate, event)
                if isinstance(event, events.Wakeup) and gate.waking is event.command:
                    return self._woken(request, gate)
        return super()._handle_event(event)

    def _woken(self, request: bool, gate: BodyGate) -> CommandGenerator[None]:
        gate.woken()
        yield from self._pass(request, gate)
        if gate.asking is None and (waking := gate.watch()) is not None:
            yield waking

    # -- going on --------------------------------------------------------------------------------------------------

    def _pass(self, request: bool, gate: BodyGate) -> CommandGenerator[None]:
        """Send what may go on, and ask about the next."""
        if gate.asking is not None:
            return
        for unit in gate.ready():
            yield from self._deliver(request, gate, unit.wire)
        if gate.asking is not None:
            yield gate.asking
        elif gate.over:
            yield from self._complete(request, gate)

    def _deliver(self, request: bool, gate: BodyGate, wire: bytes) -> CommandGenerator[None]:
        if wire:
            gate.judge.passed(len(wire))
            piece = RequestData(self.stream_id, wire) if request else ResponseData(self.stream_id, wire)
            yield SendHttp(piece, self._taker(request))

    def _judged(self, request: bool, gate: BodyGate, event: Awaited) -> CommandGenerator[None]:
        failed = Judged(0, Refusal(0, "internal_error"))
        judged = event.reply if isinstance(event.reply, Judged) and not event.failed else failed
        for unit in gate.settled(judged.passed):
            yield from self._deliver(request, gate, unit.wire)
        if judged.refusal is not None:
            yield from self._stop(request, gate, judged.refusal)
            return
        yield from self._pass(request, gate)
        if gate.asking is None and (waking := gate.watch()) is not None:
            yield waking

    def _complete(self, request: bool, gate: BodyGate) -> CommandGenerator[None]:
        """As the base class ends a body that streams."""
        del self.gates[request]
        gate.close()
        if request:
            self.client_state = self.state_stream_request_body
            yield from self.state_stream_request_body(RequestEndOfMessage(self.stream_id))
        else:
            self.server_state = self.state_stream_response_body
            yield from self.state_stream_response_body(ResponseEndOfMessage(self.stream_id))

    # -- the end ---------------------------------------------------------------------------------------------------

    def _stop(self, request: bool, gate: BodyGate, refusal: Refusal) -> CommandGenerator[None]:
        if self.flow.response is not None:
            yield from self.break_off(refusal.why, cut=request or not gate.over)
            return
        gate.judge.refused()
        self.release()
        yield from self.cut_server(refusal.why)
        yield from self.answer_here()

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        if isinstance(event, RequestProtocolError) and True in self.gates:
            self.client_state = self.state_stream_request_body  # what the base class calls talking upstream
        yield from super().handle_protocol_error(event)

    def release(self) -> None:
        super().release()
        for gate in self.gates.values():
            gate.close()
        self.gates.clear()
