"""The upstream's side of HTTP/1: requests out, responses in."""

import time

from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
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

from appliance.config.server import Limits
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.engine.http.faults import UPSTREAM_REASONS, BadMessage, Fault
from appliance.engine.http.framing import NO_BODY, BodyKind, Framing
from appliance.engine.http.grammar import REQUEST_LINE, Field
from appliance.engine.http.head import ResponseHead, parse_response_head
from appliance.engine.http.headers import make_headers
from appliance.engine.http.hops import REGENERATED_REQUEST, clean_trailers, tokens
from appliance.engine.http.http1 import StrictHttp1
from appliance.engine.http.observer import Notices
from appliance.engine.http.outgoing import BodyWriter, announced, field_lines, fixed, framing_fields, split_fields
from appliance.engine.http.request_target import DEFAULT_PORTS

MAX_INFORMATIONAL = 16
"""1xx responses taken before the final one. They are not passed on: the client's 100 (Continue) is our own."""

_WITH_CONTENT = frozenset((b"POST", b"PUT", b"PATCH"))


class StrictHttp1Client(StrictHttp1):
    """One request at a time; a connection with anything odd about its end is not used again."""

    ReceiveProtocolError = ResponseProtocolError
    ReceiveData = ResponseData
    ReceiveTrailers = ResponseTrailers
    ReceiveEndOfMessage = ResponseEndOfMessage
    reasons = UPSTREAM_REASONS
    incomplete_code = ErrorCode.GENERIC_SERVER_ERROR

    def __init__(self, context: Context, limits: Limits, notices: Notices) -> None:
        super().__init__(context, context.server, limits, notices)
        self.stream_id = 0
        self._informational = 0
        self._websocket = False
        self._trailers: tuple[Field, ...] = ()

    @property
    def idle(self) -> bool:
        """May take a request: none is in progress, and the connection is open."""
        return not self.stream_id and self.state == self.read_headers

    @property
    def finished(self) -> bool:
        return self.state == self.done

    # -- requests

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        if isinstance(event, RequestHeaders) and self.idle:
            self.stream_id = event.stream_id
            yield from self._send_head(event.request, event.end_stream)
        elif event.stream_id != self.stream_id or self.state == self.done:
            return
        elif isinstance(event, RequestData):
            yield from self.write_body(event.data)
        elif isinstance(event, RequestTrailers):
            self._trailers = clean_trailers(list(event.trailers.fields))
        elif isinstance(event, RequestEndOfMessage):
            if self.state != self.passthrough and (yield from self.write_end(self._trailers)):
                self._trailers = ()
                yield from self.mark_done(request=True)
        elif isinstance(event, RequestProtocolError):
            yield from self.close()

    def _send_head(self, request: http.Request, end_stream: bool) -> CommandGenerator[None]:
        self.request = request
        self.reusable = True
        try:
            head = self._assemble(request, end_stream)
        except BadMessage as error:
            yield from self.give_up(error)
            return
        yield from self.write_head(head, request.data.content)

    def _assemble(self, request: http.Request, end_stream: bool) -> bytes:
        data = request.data
        kept, removed = split_fields(data.headers.fields, REGENERATED_REQUEST)
        host = _host(request, removed.get(b"host", []))
        framing = _framing(request, removed, end_stream)
        self.writer = BodyWriter(framing)
        fields = [(b"Host", host), *kept]
        fields += framing_fields(framing, announce_zero=data.method in _WITH_CONTENT or b"content-length" in removed)
        if framing[0] is BodyKind.CHUNKED:
            fields += [(b"Trailer", value) for value in removed.get(b"trailer", [])]
        self._websocket = _is_websocket(removed)
        if self._websocket:
            fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        elif b"te" in removed and b"trailers" in tokens(removed[b"te"]):
            fields += [(b"Connection", b"TE"), (b"TE", b"trailers")]
        line = b"%b %b HTTP/1.1" % (data.method, self._target(request, host, fields))
        if REQUEST_LINE.match(line) is None:
            raise BadMessage(Fault.GRAMMAR, "a request line that cannot be written")
        return b"%b\r\n%b\r\n" % (line, field_lines(fields))

    def _target(self, request: http.Request, host: bytes, fields: list[Field]) -> bytes:
        """The path; for a parent proxy the whole URL, and the credentials that the parent wants among the fields."""
        parent = self.notices.parent_of(self.context.server)
        path = request.data.path
        if parent is None:
            return path
        if parent.proxy_authorization:
            fields.append((b"Proxy-Authorization", parent.proxy_authorization.encode()))
        return request.data.scheme + b"://" + host + (b"" if path == b"*" else path)

    def ask(self, stream_id: int, request: http.Request) -> bytes:
        """A whole request without a body, to be sent while this side is idle. Raises BadMessage: then ``give_up`` follows."""
        self.stream_id, self.request, self.reusable = stream_id, request, True
        head = self._assemble(request, end_stream=True)
        self.request_done = True
        return head

    # -- responses

    def read_headers(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            if self.request is None:
                # Between two requests an upstream has nothing to say: it would be taken for the next answer.
                self.notices.violation(Reason.UPSTREAM_PROTOCOL, "data without a request")
                yield from self.close()
            else:
                yield from self._read(event.data)
        elif isinstance(event, events.ConnectionClosed):
            if self.request is None:
                yield from self.close()
            else:
                yield from self.fail(Reason.UPSTREAM_CLOSED, "closed before the response")

    def _read(self, data: bytes | bytearray) -> CommandGenerator[None]:
        try:
            parsed = self.parse(data)
        except BadMessage as error:
            yield from self.fail_with(error)
            return
        if parsed is not None:
            yield from self.begin(*parsed)

    def parse(self, data: bytes | bytearray) -> tuple[ResponseHead, bytes] | None:
        """The head of the final response, and what came after it. None: it is not complete, and what there is of it is kept.
        Raises BadMessage."""
        if self.inbox and data is not self.inbox:
            self.inbox += data
            data = self.inbox
        method = self.request.data.method if self.request is not None else b""
        head = parse_response_head(data, self.limits, method, self.scanned)
        while head is not None and head.status < 200 and head.status != 101:
            data = self._skip_informational(data, head)
            head = parse_response_head(data, self.limits, method) if data else None
        if head is None:
            self.keep_for_later(data)
            return None
        self._check_upgrade(head)
        return head, self.take_rest(data, head.size)

    def _skip_informational(self, data: bytes | bytearray, head: ResponseHead) -> bytes:
        self._informational += 1
        if self._informational > MAX_INFORMATIONAL:
            raise BadMessage(Fault.GRAMMAR, f"more than {MAX_INFORMATIONAL} informational responses")
        return self.take_rest(data, head.size)

    def _check_upgrade(self, head: ResponseHead) -> None:
        """101 means a new protocol: only the one that was asked for, and asked for by a request that could."""
        if head.status == 101 and not (head.websocket and self._websocket):
            raise BadMessage(Fault.GRAMMAR, "switched to a protocol that was not asked for")

    def begin(self, head: ResponseHead, rest: bytes) -> CommandGenerator[None]:
        """Tell of a response, and of what has come of its body."""
        response = self.accept(head)
        empty = head.framing[0] is BodyKind.NONE
        if empty:
            self.inbox += rest
        yield ReceiveHttp(ResponseHeaders(self.stream_id, response, empty))
        yield from self.after_head(rest)

    def accept(self, head: ResponseHead) -> http.Response:
        """From now on this response is being read."""
        self._informational = 0
        self.reusable = self.reusable and head.keep_alive
        self.response = http.Response(
            b"HTTP/1.1" if head.http11 else b"HTTP/1.0", head.status, head.reason, make_headers(head.fields),
            None, None, time.time(), None,
        )  # fmt: skip
        self.start_body(head.framing)
        return self.response

    def after_head(self, rest: bytes) -> CommandGenerator[None]:
        """What came with the head, unless the head's event has ended the exchange."""
        if self.state != self.read_body:
            return
        if self.body_reader.done:
            yield from self.finish_message()
        elif rest:
            yield from self.feed(rest)

    def finish_message(self) -> CommandGenerator[None]:
        self.state = self.wait
        end = ReceiveHttp(ResponseEndOfMessage(self.stream_id))
        switched = self.response is not None and self.response.data.status_code == 101
        if switched:
            yield end
        # Otherwise before the event: the next request may follow from it, and finds this connection idle or closed.
        yield from self.mark_done(response=True)
        if not switched:
            yield end

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        """The response is complete, the exchange is not."""
        if isinstance(event, events.DataReceived):
            self.inbox += event.data[: 64 * 1024] if not self.inbox else b""
        elif isinstance(event, events.ConnectionClosed):
            yield from self.close()

    def report_unwritable(self, detail: str) -> None:
        self.notices.flow_violation(Reason.INTERNAL_ERROR, detail)

    def fail(self, reason: Reason, detail: str) -> CommandGenerator[None]:
        self.notices.flow_violation(reason, detail)
        yield from self.close()
        if self.stream_id:
            yield self.error_event(reason, detail)

    # -- the end of an exchange

    def mark_done(self, *, request: bool = False, response: bool = False) -> CommandGenerator[None]:
        self.request_done |= request
        self.response_done |= response
        if not self.response_done:
            return
        if self.response is not None and self.response.data.status_code == 101:
            if self.request_done:
                yield from self.make_pipe()
            return
        # An early answer leaves request octets unsent; octets after the answer belong to no request.
        if not self.reusable or not self.request_done or self.inbox or self.conn.state is not ConnectionState.OPEN:
            if self.inbox:
                self.notices.violation(Reason.UPSTREAM_PROTOCOL, "data after the response")
            yield from self.close()
            return
        self.request_done = self.response_done = False
        self.request = self.response = self.writer = None
        self.stream_id = 0
        self.state = self.read_headers


def _host(request: http.Request, hosts: list[bytes]) -> bytes:
    if len(hosts) > 1:
        raise BadMessage(Fault.AMBIGUOUS, "Host more than once")
    if hosts or request.data.authority:
        return hosts[0] if hosts else request.data.authority
    target = Target(request.data.host, request.data.port)
    text = str(target)
    return (text.rpartition(":")[0] if DEFAULT_PORTS.get(request.data.scheme) == target.port else text).encode()


def _framing(request: http.Request, removed: dict[bytes, list[bytes]], end_stream: bool) -> Framing:
    """Every body that leaves here is framed, whatever the client's protocol did without."""
    data = request.data
    if data.trailers:
        return BodyKind.CHUNKED, 0
    if data.content is not None:
        return fixed(len(data.content))
    if end_stream:
        return NO_BODY
    length = announced(removed)
    return (BodyKind.CHUNKED, 0) if length is None else fixed(length)


def _is_websocket(removed: dict[bytes, list[bytes]]) -> bool:
    return b"websocket" in [value.lower() for value in removed.get(b"upgrade", [])]
