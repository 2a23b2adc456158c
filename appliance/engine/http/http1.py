"""What the client's and the upstream's HTTP/1 connection share: the body of a message, and the end of an exchange."""

from abc import abstractmethod
from collections.abc import Callable, Mapping

from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestTrailers, ResponseTrailers
from mitmproxy.proxy.layers.http._http1 import Http1Connection

from appliance.config.server import Limits
from appliance.domain.reason import Reason
from appliance.engine.http.body import BodyReader, make_reader
from appliance.engine.http.faults import BadMessage, Fault, describe
from appliance.engine.http.framing import BodyKind, Framing
from appliance.engine.http.grammar import Field
from appliance.engine.http.headers import make_headers
from appliance.engine.http.observer import Notices
from appliance.engine.http.outgoing import BodyWriter

type State = Callable[[events.Event], CommandGenerator[None]]

JOIN_LIMIT = 64 * 1024
"""A body up to this size is sent in one piece with its head: a copy costs less than a second write."""


class StrictHttp1(Http1Connection):
    """States take one event each. ``inbox`` holds what has arrived and belongs to no body being read."""

    ReceiveTrailers: type[RequestTrailers | ResponseTrailers]
    reasons: Mapping[Fault, Reason]
    incomplete_code: ErrorCode
    body_reader: BodyReader  # type: ignore[assignment]
    state: State
    stream_id: int
    """0: no message is in progress."""

    def __init__(self, context: Context, conn: Connection, limits: Limits, notices: Notices) -> None:
        super().__init__(context, conn)
        self.limits = limits
        self.notices = notices
        self.inbox = bytearray()
        self.scanned = 0
        self.reusable = True
        self.writer: BodyWriter | None = None
        self.held = b""
        self._abort_detail = ""
        self.state = self.read_headers

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """No command of ours blocks, so the base class's pausing is left out."""
        if isinstance(event, HttpEvent):
            return self.send(event)
        if isinstance(event, events.Start):
            return self._nothing()
        return self.state(event)

    _handle_event = handle_event

    @staticmethod
    def _nothing() -> CommandGenerator[None]:
        yield from ()

    @abstractmethod
    def read_headers(self, event: events.Event) -> CommandGenerator[None]:
        """Wait for the head of the next message."""

    def done(self, event: events.Event) -> CommandGenerator[None]:
        """Closed by us; what still arrives is not read."""
        return self._nothing()

    @abstractmethod
    def fail(self, reason: Reason, detail: str) -> CommandGenerator[None]:
        """The peer broke a rule or went away in the middle of a message: tell whoever waits for it, and close."""

    def fail_with(self, error: BadMessage) -> CommandGenerator[None]:
        return self.fail(self.reasons[error.fault], error.detail)

    def start_body(self, framing: Framing) -> None:
        self.body_reader = make_reader(framing, self.limits)
        self.state = self.read_body

    def take_rest(self, data: bytes | bytearray, size: int) -> bytes:
        """What follows a head of ``size`` bytes in ``data``; the inbox is empty afterwards."""
        rest = bytes(data[size:]) if len(data) > size else b""
        self.inbox.clear()
        self.scanned = 0
        return rest

    def keep_for_later(self, data: bytes | bytearray) -> None:
        """An incomplete head."""
        if data is not self.inbox:
            self.inbox += data
        self.scanned = len(self.inbox)

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            yield from self.feed(event.data)
        elif isinstance(event, events.ConnectionClosed):
            try:
                self.body_reader.end_of_stream()
            except BadMessage as error:
                yield from self.fail_with(error)
                return
            yield from self.finish_body()

    def feed(self, data: bytes) -> CommandGenerator[None]:
        pieces: list[bytes] = []
        try:
            rest = self.body_reader.feed(data, pieces)
        except BadMessage as error:
            yield from self.fail_with(error)
            return
        if rest:
            self.inbox += rest
        if pieces:
            # One event for all chunks of a read: chunks of an octet each would cost an event each.
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            yield ReceiveHttp(self.ReceiveData(self.stream_id, body))
        # The event may have ended the exchange (limit, block page, closed upstream).
        if self.body_reader.done and self.state == self.read_body:
            yield from self.finish_body()

    def finish_body(self) -> CommandGenerator[None]:
        if self.body_reader.trailers:
            yield ReceiveHttp(self.ReceiveTrailers(self.stream_id, make_headers(self.body_reader.trailers)))
        yield from self.finish_message()

    @abstractmethod
    def finish_message(self) -> CommandGenerator[None]:
        """The incoming message is complete: say so, then see whether the exchange is."""

    def write_head(self, head: bytes, content: bytes | None) -> CommandGenerator[None]:
        """Send the head, or hold it for the body that follows in the same turn."""
        if content and len(content) <= JOIN_LIMIT and self.writer is not None and self.writer.kind is not BodyKind.NONE:
            self.held = head
        else:
            yield commands.SendData(self.conn, head)

    def write_body(self, data: bytes) -> CommandGenerator[None]:
        if self.state == self.passthrough:
            yield commands.SendData(self.conn, data)
            return
        if self.writer is None:
            return
        try:
            raw = self.writer.data(data)
        except BadMessage as error:
            yield from self.give_up(error)
            return
        if self.held:
            raw, self.held = self.held + raw, b""
        if raw:
            yield commands.SendData(self.conn, raw)

    def write_end(self, trailers: tuple[Field, ...]) -> CommandGenerator[bool]:
        """True when the message ended as announced."""
        if self.writer is None:
            return False
        try:
            raw = self.held + self.writer.end(trailers)
        except BadMessage as error:
            yield from self.give_up(error)
            return False
        self.held = b""
        if raw:
            yield commands.SendData(self.conn, raw)
        return True

    def give_up(self, error: BadMessage) -> CommandGenerator[None]:
        """What we were to send contradicts its own head: the peer must see a broken connection, not a whole message."""
        self.report_unwritable(error.detail)
        self.writer = None
        self._abort_detail = error.detail
        yield from self.close()
        self.state = self.aborted

    @abstractmethod
    def report_unwritable(self, detail: str) -> None:
        """Tell the observer, in the way that fits: a response's flow has ended already, a request's has not."""

    def aborted(self, event: events.Event) -> CommandGenerator[None]:
        """We gave up while the flow was sending. It cannot take an event in the middle of that; it gets it now."""
        if isinstance(event, events.ConnectionClosed):
            self.state = self.done
            yield self.error_event(Reason.INTERNAL_ERROR, self._abort_detail)

    def close(self) -> CommandGenerator[None]:
        self.state = self.done
        self.inbox.clear()
        if self.conn.state is not ConnectionState.CLOSED:
            yield commands.CloseConnection(self.conn)

    def make_pipe(self) -> CommandGenerator[None]:
        self.state = self.passthrough
        if self.inbox:
            early, self.inbox = bytes(self.inbox), bytearray()
            yield from self.passthrough(events.DataReceived(self.conn, early))

    def error_event(self, reason: Reason, detail: str) -> ReceiveHttp:
        code = self.incomplete_code if reason is self.reasons[Fault.INCOMPLETE] else self.ReceiveProtocolError.code
        return ReceiveHttp(self.ReceiveProtocolError(self.stream_id, describe(reason, detail), code))
