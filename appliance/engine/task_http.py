"""Strict HTTP whose streams hold bodies only as far as a scan needs them (``addons.carry.limit_body``)."""

from mitmproxy.connection import Connection
from mitmproxy.flow import Error
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator, Layer, Paused
from mitmproxy.proxy.layers.http import RegisterHttpConnection, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook

from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.engine.apart import ApartStream
from appliance.engine.http.kept1 import ClosedUnanswered
from appliance.engine.http.layer import StrictHttpLayer
from appliance.engine.messages import JUDGES
from appliance.engine.server_connection import party_of
from appliance.engine.websocket import WebSocketRelay

LIMIT_KEY = "arcus.limit"
BODY_KEY = "arcus.body"
"""The flow has its answer when its body is there: the body is kept until then, up to the limit."""


class TaskHttpLayer(StrictHttpLayer):
    """mitmproxy's own limits are one number for the whole process; here each flow has what its tenant's auditor says."""

    def _can_take(self, connection: Connection) -> bool:
        """A trusted proxy's connection carries requests of many: none of them goes out by the way chosen for another."""
        conn = getattr(self.context.client, "arcus", None)
        party = party_of(conn) if isinstance(conn, ConnNotes) else None
        return getattr(connection, "arcus_party", None) == party and super()._can_take(connection)

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        self.streams[stream_id] = TaskStream(self.context.fork(), stream_id)
        yield from self.event_to_child(self.streams[stream_id], events.Start())

    def release(self) -> None:
        """The connection is over: give back what is held for its streams."""
        for stream in self.streams.values():
            if isinstance(stream, TaskStream):
                stream.release()

    def dropped(self, stream: Layer) -> None:
        if isinstance(stream, TaskStream):
            stream.release()

    def register_connection(self, command: RegisterHttpConnection) -> CommandGenerator[None]:
        """Why a handshake with the server failed was found by a hook, which wrote it on the connection (lazy connections)."""
        if command.err and command.connection.error:
            command = RegisterHttpConnection(command.connection, command.connection.error)
        yield from super().register_connection(command)


class TaskStream(ApartStream):
    """One request and its response."""

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """As in the base class, except that a hook that was over at once does not stop the stream: to be told so in an event
        of its own would cost a walk through the layers for each of the four hooks of a request."""
        return super().handle_event(event) if self._paused else self._proceed(self._handle_event(event))

    def behind(self, hook: commands.StartHook, going_on: CommandGenerator[None]) -> CommandGenerator[None]:
        """Go on behind a hook that was run elsewhere, or runs still: the next command of ``going_on`` is the same one.

        On the way there the stream sets once more what was set before the hook, which may have set something else since.
        """
        flow, data, response = self.flow, self.flow.request.data, self.flow.response
        kept = flow.live, data.host, data.port, data.scheme, data.content, data.timestamp_end
        ended = response.timestamp_end if response is not None else None
        next(going_on)
        flow.live, data.host, data.port, data.scheme, data.content, data.timestamp_end = kept
        flow.response = response
        if response is not None:
            response.timestamp_end = ended
        if not hook.blocking:
            return self._proceed(going_on)
        self._wait(hook, going_on)
        return _nothing()

    def _proceed(self, going_on: CommandGenerator[None]) -> CommandGenerator[None]:
        for command in going_on:
            if command.blocking is not True:
                yield command
            elif isinstance(command, commands.StartHook):
                command.blocking = False
                yield command
                if command.blocking:  # the handler says so: it is not over
                    self._wait(command, going_on)
                    return
            else:
                self._wait(command, going_on)
                yield command
                return

    def _wait(self, command: commands.Command, going_on: CommandGenerator[None]) -> None:
        command.blocking = self
        self._paused = Paused(command, going_on)

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        if isinstance(event, ClosedUnanswered):
            yield from self._repeat()
        else:
            yield from super().handle_protocol_error(event)

    def _repeat(self) -> CommandGenerator[None]:
        """The request has no body, and has done nothing yet: once more, on a connection made for it."""
        if (yield from self.make_server_connection()):
            server = self.context.server
            yield SendHttp(RequestHeaders(self.stream_id, self.flow.request, end_stream=True), server)
            yield SendHttp(RequestEndOfMessage(self.stream_id), server)

    def state_wait_for_request_headers(self, event: RequestHeaders) -> CommandGenerator[None]:
        yield from super().state_wait_for_request_headers(event)
        if not event.end_stream:
            yield from self.inspect_announced(request=True)
        elif JUDGES[True] in self.flow.metadata:
            self.flow.request.stream = False  # there is no stream, and what there is has its place in the hook at the end

    def state_wait_for_response_headers(self, event: events.Event) -> CommandGenerator[None]:
        """Where a hook put a page in place of the server's answer, it goes out now, and the server is cut off: the body
        may have no end, and stock mitmproxy would put it into the page."""
        yield from super().state_wait_for_response_headers(event)
        replaced = isinstance(event, ResponseHeaders) and self.flow.response is not event.response
        if replaced and self.server_state == self.state_consume_response_body:
            yield SendHttp(RequestProtocolError(self.stream_id, "a page was sent", ErrorCode.CANCEL), self.context.server)
            yield from self.send_response()
        elif isinstance(event, ResponseHeaders) and not event.end_stream:
            yield from self.inspect_announced(request=False)

    def flow_done(self) -> CommandGenerator[None]:
        """A WebSocket is relayed frame by frame."""
        if not self.flow.websocket:
            yield from super().flow_done()
            return
        self.child_layer = WebSocketRelay(self.context, self.flow)
        self._handle_event = self.passthrough  # type: ignore[method-assign]
        yield from self.child_layer.handle_event(events.Start())
        # Only now, as in the base class: bytes may follow at once.
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def release(self) -> None:
        super().release()
        if isinstance(self.child_layer, WebSocketRelay):
            self.child_layer.release()

    def state_done(self, _event: events.Event) -> CommandGenerator[None]:
        """What a server that was cut off had under way goes nowhere."""
        yield from ()

    def check_body_size(self, request: bool) -> CommandGenerator[bool]:
        """Called for each piece of a body that is held. True: the flow was stopped, or goes on streaming."""
        if request and self.flow.response is not None and BODY_KEY not in self.flow.metadata:
            self.request_body_buf.clear()  # already answered: the rest is read only to keep the connection in step
            return False
        if (yield from self.inspects(request)):
            return True
        limit = self.flow.metadata.get(LIMIT_KEY)
        held = len(self.request_body_buf if request else self.response_body_buf)
        if limit is None or held <= limit[0]:
            return False
        if limit[1] == "bypass":
            yield from self._stream_on(request)
            return True
        yield from self._refuse(request, held)
        return True

    def _stream_on(self, request: bool) -> CommandGenerator[None]:
        """Let go of what is held and stream the rest; ``limit_body``'s callback notes that it is not scanned."""
        buffer = self.request_body_buf if request else self.response_body_buf
        body = bytes(buffer)
        buffer.clear()
        notify = self.flow.metadata.get("arcus.oversize")
        stream = notify("request" if request else "response") if notify is not None else True
        if request:
            self.flow.request.stream = stream
            yield from self.start_request_stream()
            yield from self.handle_event(RequestData(self.stream_id, body))
        elif self.flow.response is not None:
            self.flow.response.stream = stream
            yield from self.start_response_stream()
            yield from self.handle_event(ResponseData(self.stream_id, body))

    def _refuse(self, request: bool, held: int) -> CommandGenerator[None]:
        message = f"{Reason.BODY_TOO_LARGE.word}: more than {held} bytes"
        code = ErrorCode.REQUEST_TOO_LARGE if request else ErrorCode.RESPONSE_TOO_LARGE
        (self.request_body_buf if request else self.response_body_buf).clear()
        self.flow.error = Error(message)
        yield HttpErrorHook(self.flow)
        yield SendHttp(ResponseProtocolError(self.stream_id, message, code), self.context.client)
        self.client_state = self.state_errored
        if not request:
            yield SendHttp(RequestProtocolError(self.stream_id, message, code), self.context.server)
            self.server_state = self.state_errored
        self.flow.live = False
        self.release()


def _nothing() -> CommandGenerator[None]:
    yield from ()
