"""A request and its response whose bodies are judged while they arrive (``engine.inspection``)."""

import time

from mitmproxy.connection import Connection
from mitmproxy.flow import Error
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook, HttpRequestHook, HttpResponseHeadersHook

from appliance.engine.inspection import PLANS, Await, Awaited, Fate, Hold, Plan, Reset, Uploading
from appliance.engine.passage import Passage

_TICK = 1.0
"""Seconds between two pieces of a trickle."""


class AdaptingStream(HttpStream):
    """Where no plan is on the flow, or the body stays small, this is the base class with one look-up for each piece."""

    def __init__(self, context: Context, stream_id: int) -> None:
        super().__init__(context, stream_id)
        self.passages: dict[bool, Passage] = {}
        self._taken: tuple[Plan, int] | None = None

    # -- the start -------------------------------------------------------------------------------------------------

    def inspects(self, request: bool) -> CommandGenerator[bool]:
        """Asked for each piece that is held. True: it is too much to hold, and from here on it is inspected as it comes."""
        plan: Plan | None = self.flow.metadata.get(PLANS[request])
        if plan is None:
            return False
        held = len(self.request_body_buf if request else self.response_body_buf)
        if held <= plan.above and self._reserve(plan, held):
            return False
        yield from self._inspect(request, plan)
        return True

    def inspect_announced(self, request: bool) -> CommandGenerator[None]:
        """After the head: start now where the body is known to be large."""
        plan: Plan | None = self.flow.metadata.get(PLANS[request])
        if request and self.flow.response is not None:
            return  # answered already
        state = self.client_state if request else self.server_state
        waiting = self.state_consume_request_body if request else self.state_consume_response_body
        if plan is not None and plan.at_once and state == waiting:
            yield from self._inspect(request, plan)

    def _reserve(self, plan: Plan, held: int) -> bool:
        taken = self._taken[1] if self._taken is not None and self._taken[0] is plan else 0
        if self._taken is not None and self._taken[0] is not plan:
            self._unreserve()
        if not plan.take(held - taken):
            return False
        self._taken = (plan, held)
        return True

    def _unreserve(self) -> None:
        if self._taken is not None:
            plan, size = self._taken
            self._taken = None
            plan.give_back(size)

    def _inspect(self, request: bool, plan: Plan) -> CommandGenerator[None]:
        self._unreserve()
        buffer = self.request_body_buf if request else self.response_body_buf
        held = bytes(buffer)
        buffer.clear()
        passage = self.passages[request] = Passage(plan.start(), request=request)
        if request:
            self.client_state = self.state_inspect_request
        else:
            self.server_state = self.state_inspect_response
        if held:
            yield from self._arrived(passage, held)
        inspection = passage.inspection
        job, idle = inspection.judge, passage
        hook = "request" if request else "responseheaders"
        passage.command = Await(self.flow, hook, lambda _outlet: job(), lambda: not idle.idle)
        yield passage.command
        if not request and inspection.trickle is not None:
            yield commands.RequestWakeup(inspection.trickle.after)

    # -- what arrives ----------------------------------------------------------------------------------------------

    def state_inspect_request(self, event: events.Event) -> CommandGenerator[None]:
        passage = self.passages[True]
        if isinstance(event, RequestData):
            yield from self._arrived(passage, event.data)
        elif isinstance(event, RequestTrailers) and not passage.judged:  # else nobody would look at them any more
            self.flow.request.trailers = event.trailers
        elif isinstance(event, RequestEndOfMessage):
            self.flow.request.timestamp_end = time.time()
            yield from self._ended(passage)

    def state_inspect_response(self, event: events.Event) -> CommandGenerator[None]:
        passage = self.passages[False]
        if isinstance(event, ResponseData):
            yield from self._arrived(passage, event.data)
        elif isinstance(event, ResponseTrailers) and self.flow.response is not None:
            self.flow.response.trailers = event.trailers
        elif isinstance(event, ResponseEndOfMessage):
            yield from self._ended(passage)

    def _arrived(self, passage: Passage, data: bytes) -> CommandGenerator[None]:
        if passage.flowing:
            yield from self._send(passage, data)
            return
        source = self.context.client if passage.request else self.context.server
        body = passage.inspection.body if passage.judged else passage.inspection.shown
        if not passage.arrived(data):
            yield Hold(source, passage.over.wait)
        elif body.pressed:
            yield Hold(source, body.relieved)

    def _ended(self, passage: Passage) -> CommandGenerator[None]:
        passage.end()
        if passage.flowing:
            yield from self._finish(passage)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, Awaited):
            return self._awaited(event)
        if isinstance(event, events.Wakeup):
            return self._trickle()
        base: CommandGenerator[None] = super()._handle_event(event)
        return base

    # -- the verdict -----------------------------------------------------------------------------------------------

    def _awaited(self, event: Awaited) -> CommandGenerator[None]:
        passage = next((each for each in self.passages.values() if each.command is event.command), None)
        if passage is None:
            return  # the stream ended before
        passage.command = None
        if passage.judged:
            yield from self._piece(passage, event)
            return
        passage.judged = True
        inspection = passage.inspection
        if event.failed:
            inspection.fate, inspection.why = Fate.RESET if inspection.started else Fate.REPLACE, "internal_error"
        if passage.request:
            yield from self._request_judged(passage)
        else:
            yield from self._response_judged(passage)

    def _request_judged(self, passage: Passage) -> CommandGenerator[None]:
        inspection, flow = passage.inspection, self.flow
        if inspection.fate is Fate.DELIVER:
            flow.request.data.content = None
        yield HttpRequestHook(flow)
        if (yield from self.check_killed(True)):
            return
        if flow.response is not None:
            yield from self.answer_here()
            return
        if not (yield from self.make_server_connection()):
            return
        if inspection.fate is Fate.REPLACE:
            passage.drop_rest()
        content = flow.request.raw_content
        yield SendHttp(RequestHeaders(self.stream_id, flow.request, end_stream=False), self.context.server)
        if content and inspection.replacement is None and inspection.fate is Fate.REPLACE:
            passage.sent = inspection.body.size
            yield SendHttp(RequestData(self.stream_id, content), self.context.server)
        if not passage.finished:
            yield Uploading(flow, over=False)
        yield from self._go_on(passage)

    def answer_here(self) -> CommandGenerator[None]:
        """The request is answered here. What is still to come of it is not read as anything."""
        response = self.flow.response
        if response is None:
            return
        self.client_state = self.state_done
        self.close_passages()
        response.timestamp_start = time.time()
        yield HttpResponseHeadersHook(self.flow)
        if not (yield from self.check_killed(True)):
            yield from self.send_response()

    def _response_judged(self, passage: Passage) -> CommandGenerator[None]:
        inspection = passage.inspection
        if inspection.fate is Fate.RESET:
            yield from self._break_off(passage)
            return
        if inspection.fate is Fate.REPLACE:
            if not passage.finished:
                yield from self.cut_server("another answer was sent")
            passage.drop_rest()
            if inspection.replacement is None:
                del self.passages[False]
                passage.close()
                yield from self.send_response()
                return
        yield from self._send_head(passage)
        yield from self._go_on(passage)

    def cut_server(self, why: str) -> CommandGenerator[None]:
        yield SendHttp(RequestProtocolError(self.stream_id, why, ErrorCode.CANCEL), self.context.server)

    def _break_off(self, passage: Passage) -> CommandGenerator[None]:
        return self.break_off(passage.inspection.why, cut=not passage.finished)

    def break_off(self, message: str, *, cut: bool = True) -> CommandGenerator[None]:
        """Some of it is with the client, which must see that the rest will not come. ``cut``: the server still sends."""
        self.flow.error = Error(message)
        yield HttpErrorHook(self.flow)
        if self.context.client.alpn != b"h2":
            yield Reset()
        yield SendHttp(ResponseProtocolError(self.stream_id, message, ErrorCode.KILL), self.context.client)
        if cut:
            yield from self.cut_server(message)
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        self.release()

    # -- going on --------------------------------------------------------------------------------------------------

    def _go_on(self, passage: Passage) -> CommandGenerator[None]:
        passage.begin()
        yield from self._next(passage)

    def _next(self, passage: Passage) -> CommandGenerator[None]:
        if passage.caught_up:
            for rest in passage.flow():
                yield from self._send(passage, rest)
            if passage.finished:
                yield from self._finish(passage)
            return
        sink, stream_id = self._sink(passage), self.stream_id
        passage.command = Await(
            self.flow, "error", lambda outlet: passage.piece(outlet, sink, stream_id), lambda: True
        )  # fmt: skip
        yield passage.command

    def _sink(self, passage: Passage) -> Connection:
        return self.context.server if passage.request else self.context.client

    def _piece(self, passage: Passage, event: Awaited) -> CommandGenerator[None]:
        if event.failed:
            passage.inspection.why = "internal_error"
            yield from self._break_off(passage)
            return
        if isinstance(event.reply, bytes) and event.reply:
            yield from self._send(passage, event.reply)
        yield from self._next(passage)

    def _send(self, passage: Passage, data: bytes) -> CommandGenerator[None]:
        passage.sent += len(data)
        passage.inspection.passed(len(data))
        piece = RequestData(self.stream_id, data) if passage.request else ResponseData(self.stream_id, data)
        yield SendHttp(piece, self._sink(passage))

    def _send_head(self, passage: Passage) -> CommandGenerator[None]:
        response = self.flow.response
        if passage.inspection.started or response is None:
            return
        passage.inspection.started = True
        response.stream = True
        yield SendHttp(ResponseHeaders(self.stream_id, response, end_stream=False), self.context.client)

    def _finish(self, passage: Passage) -> CommandGenerator[None]:
        del self.passages[passage.request]
        passage.close()
        if not passage.request:
            yield from self.send_response(already_streamed=True)
            return
        yield Uploading(self.flow, over=True)
        self.client_state = self.state_done
        if self.flow.request.trailers:
            yield SendHttp(RequestTrailers(self.stream_id, self.flow.request.trailers), self.context.server)
        yield SendHttp(RequestEndOfMessage(self.stream_id), self.context.server)
        if self.server_state == self.state_done:
            yield from self.flow_done()

    def _trickle(self) -> CommandGenerator[None]:
        passage = self.passages.get(False)
        trickle = passage.inspection.trickle if passage is not None else None
        if passage is None or passage.judged or trickle is None:
            return
        body = passage.inspection.body
        size = min(int(trickle.rate * _TICK), body.size - trickle.withhold - passage.sent)
        if size > 0:
            yield from self._send_head(passage)
            yield from self._send(passage, body.read(passage.sent, size))
        yield commands.RequestWakeup(_TICK)

    # -- the end ---------------------------------------------------------------------------------------------------

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        """Either side went away: the scan is cancelled, and the other side's transfer with it."""
        passage = self.passages.get(True)
        if isinstance(event, RequestProtocolError) and passage is not None and passage.judged:
            self.client_state = self.state_stream_request_body  # what the base class calls talking upstream
        self.release()
        yield from super().handle_protocol_error(event)

    def check_killed(self, emit_error_hook: bool) -> CommandGenerator[bool]:
        killed: bool = yield from super().check_killed(emit_error_hook)
        if killed:
            self.release()
        return killed

    def close_passages(self) -> None:
        for passage in self.passages.values():
            passage.close()
        self.passages.clear()

    def release(self) -> None:
        """Give back everything that is held for this stream."""
        self._unreserve()
        self.close_passages()
