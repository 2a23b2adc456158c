"""The client's side of HTTP/1: requests in, responses out."""

import time

from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import commands, events
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
from appliance.engine.http.faults import CLIENT_REASONS, BadMessage, Fault, describe
from appliance.engine.http.framing import NO_BODY, BodyKind, Framing
from appliance.engine.http.grammar import Field
from appliance.engine.http.head import RequestHead, parse_request_head
from appliance.engine.http.headers import make_headers
from appliance.engine.http.hops import REGENERATED_RESPONSE, clean_trailers, tokens
from appliance.engine.http.http1 import StrictHttp1
from appliance.engine.http.observer import Notices
from appliance.engine.http.outgoing import BodyWriter, announced, field_lines, fixed, framing_fields, split_fields
from appliance.engine.http.request_target import TargetForm

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PIPELINE_LIMIT = 256 * 1024
"""Bytes that a client may send ahead while a response is pending. Beyond it the rest is not served: the connection closes
after the response, and the client repeats what was not answered (RFC 9112 section 9.3.2)."""
MAX_AT_ONCE = 64
"""Pipelined requests in a row that are answered in the turn in which they are read (block pages). The next is read from within
the end of the last, and others wait for their turn meanwhile; beyond it the same holds."""


class StrictHttp1Server(StrictHttp1):
    """Pipelined requests are served one after the other. A refused message is answered and the connection closed."""

    ReceiveProtocolError = RequestProtocolError
    ReceiveData = RequestData
    ReceiveTrailers = RequestTrailers
    ReceiveEndOfMessage = RequestEndOfMessage
    reasons = CLIENT_REASONS
    incomplete_code = ErrorCode.CLIENT_DISCONNECTED
    stream_id: int

    def __init__(self, context: Context, limits: Limits, notices: Notices, *, forward: bool) -> None:
        super().__init__(context, context.client, limits, notices)
        self.stream_id = 1
        self._forward = forward
        self._default_port = 443 if context.client.tls else 80
        self._head: RequestHead | None = None
        self._trailers: tuple[Field, ...] = ()
        self._at_once = 0

    # -- requests

    def read_headers(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            yield from self._read(event.data)
        elif isinstance(event, events.ConnectionClosed):
            if self.inbox.strip():
                self.notices.violation(Reason.CLIENT_CLOSED, "closed within a request header")
            yield from self.close()

    def _read(self, data: bytes | bytearray) -> CommandGenerator[None]:
        try:
            parsed = self.parse(data)
        except BadMessage as error:
            yield from self.fail_with(error)
            return
        if parsed is not None:
            yield from self.begin(*parsed)

    @property
    def idle(self) -> bool:
        """Waits for a request, or for the rest of its head."""
        return self.state == self.read_headers

    def parse(self, data: bytes | bytearray) -> tuple[RequestHead, http.Request, bytes] | None:
        """The next request's head, the request, and what came after the head. None: the head is not complete, and what there
        is of it is kept. Raises BadMessage."""
        if self.inbox and data is not self.inbox:
            self.inbox += data
            data = self.inbox
        head = parse_request_head(data, self.limits, self._default_port, self.scanned)
        if head is None:
            self.keep_for_later(data)
            return None
        return head, self._request(head), self.take_rest(data, head.size)

    def _request(self, head: RequestHead) -> http.Request:
        line, target = head.line, head.target
        if line.form is TargetForm.AUTHORITY:
            raise BadMessage(Fault.GRAMMAR, "CONNECT on a connection that carries requests")
        fields = head.fields
        if self._forward:
            own = self.notices.own_host(target.host) if line.form is TargetForm.ORIGIN and target is not None else ""
            if own:
                # the Host field stays as it is: it tells that this listener was asked directly
                scheme, host, port = b"http", own, 80
            elif line.form is not TargetForm.ABSOLUTE or target is None:
                raise BadMessage(Fault.GRAMMAR, "a proxy takes requests in absolute form")
            else:
                scheme, host, port = line.scheme, target.host, target.port
        else:
            if line.form is TargetForm.ABSOLUTE and line.scheme != self._scheme():
                raise BadMessage(Fault.AMBIGUOUS, "the request target's scheme is not the connection's")
            # The layer takes host, port and scheme from the connection; what the client names is in Host.
            scheme, host, port = b"", "", 0
        if not head.host:
            fields = ((b"Host", self._implied_host(head)), *fields)
        return http.Request(
            host, port, head.method, scheme, b"", line.path, b"HTTP/1.1" if head.http11 else b"HTTP/1.0",
            make_headers(fields), None, None, time.time(), None,
        )  # fmt: skip

    def _scheme(self) -> bytes:
        return b"https" if self.context.client.tls else b"http"

    def _implied_host(self, head: RequestHead) -> bytes:
        """An HTTP/1.0 request may leave Host out; it is forwarded as HTTP/1.1, which needs one."""
        if head.line.authority:
            return head.line.authority
        address = self.context.server.address
        name = self.context.client.sni or (address[0] if address else "")
        if not name:
            raise BadMessage(Fault.GRAMMAR, "Host is missing and the destination unknown")
        port = address[1] if address else self._default_port
        text = str(Target(name, port))
        return (text.rpartition(":")[0] if port == self._default_port else text).encode()

    def begin(self, head: RequestHead, request: http.Request, rest: bytes) -> CommandGenerator[None]:
        """Tell of a request, and of what has come of its body."""
        self.accept(head, request)
        empty = head.framing[0] is BodyKind.NONE
        if empty:
            self.inbox += rest
        yield ReceiveHttp(RequestHeaders(self.stream_id, request, empty))
        if empty:
            yield from self.end_request()
        elif rest and self.state == self.read_body:
            yield from self.feed(rest)

    def accept(self, head: RequestHead, request: http.Request) -> None:
        """From now on this request is in progress."""
        self._head = head
        self.request = request
        self.reusable = head.keep_alive and self._at_once < MAX_AT_ONCE
        if head.framing[0] is BodyKind.NONE:
            self.state = self.wait
        else:
            self.start_body(head.framing)

    def end_request(self) -> CommandGenerator[None]:
        """Nothing follows its head, unless the head's event has ended the exchange."""
        if self.state == self.wait:
            yield from self.finish_message()

    def finish_message(self) -> CommandGenerator[None]:
        # Before the event: it may complete the exchange.
        self.request_done = True
        self.state = self.wait
        yield ReceiveHttp(RequestEndOfMessage(self.stream_id))

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        """A request is being answered; what arrives meanwhile is the next one."""
        if isinstance(event, events.DataReceived):
            if not self.reusable:
                return
            self.inbox += event.data
            if len(self.inbox) > PIPELINE_LIMIT:
                self.notices.violation(Reason.RESOURCE_EXHAUSTED, f"more than {PIPELINE_LIMIT} bytes of pipelined requests")
                self.reusable = False
                self.inbox.clear()
        elif isinstance(event, events.ConnectionClosed):
            yield from self.fail(Reason.CLIENT_CLOSED, "closed while waiting for the response")

    def fail(self, reason: Reason, detail: str) -> CommandGenerator[None]:
        in_flow = self.request is not None
        (self.notices.flow_violation if in_flow else self.notices.violation)(reason, detail)
        if reason is not Reason.CLIENT_CLOSED and self.response is None and self.conn.state & ConnectionState.CAN_WRITE:
            message = describe(reason, detail)
            yield commands.SendData(self.conn, self.notices.error_response(reason.status, message))
        yield from self.close()
        if in_flow:
            yield self.error_event(reason, detail)

    # -- responses

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        if event.stream_id != self.stream_id or self.state == self.done:
            return
        if isinstance(event, ResponseHeaders):
            yield from self._send_head(event.response)
        elif isinstance(event, ResponseData):
            yield from self.write_body(event.data)
        elif isinstance(event, ResponseTrailers):
            self._trailers = clean_trailers(list(event.trailers.fields))
        elif isinstance(event, ResponseEndOfMessage):
            if self.state != self.passthrough and (yield from self.write_end(self._trailers)):
                self._trailers = ()
                yield from self.mark_done(response=True)
        elif isinstance(event, ResponseProtocolError):
            yield from self._send_error(event)

    def _send_head(self, response: http.Response) -> CommandGenerator[None]:
        status = response.data.status_code
        if status < 200 and status != 101:
            if status == 100 and self._head is not None and self._head.http11:
                yield commands.SendData(self.conn, CONTINUE)
            return
        try:
            head = self.answer(response)
        except BadMessage as error:
            yield from self.replace_response(error)
            return
        yield from self.write_head(head, response.data.content)

    def answer(self, response: http.Response) -> bytes:
        """The head of a final response, which is in progress from now on. Raises BadMessage: ``replace_response`` follows."""
        self.response = response
        return self._assemble(response)

    def _assemble(self, response: http.Response) -> bytes:
        data = response.data
        status = data.status_code
        fields, removed = split_fields(data.headers.fields, REGENERATED_RESPONSE)
        length = announced(removed) if b"content-length" in removed else None
        framing = self._framing(response, length)
        # A response before the end of the request: what is left of the request may be long, or never come.
        ends = framing[0] is BodyKind.UNTIL_CLOSE or not self.request_done or b"close" in tokens(removed.get(b"connection", []))
        if ends or self.notices.leaving():
            self.reusable = False
        self.writer = BodyWriter(framing)
        if status == 101:
            fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        else:
            self._add_framing(fields, framing, removed, length, status)
        phrase = data.reason if data.http_version != b"HTTP/2.0" else status_codes.RESPONSES.get(status, "").encode()
        if b"\r" in phrase or b"\n" in phrase or not 100 <= status <= 999:
            raise BadMessage(Fault.GRAMMAR, "a status line that cannot be written")
        return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, phrase, field_lines(fields))

    def _add_framing(
        self, fields: list[Field], framing: Framing, removed: dict[bytes, list[bytes]], length: int | None, status: int
    ) -> None:
        if self._has_body(status):
            fields += framing_fields(framing, announce_zero=True)
        elif length is not None and status != 204:
            # To HEAD and in 304 it tells the size of what is not sent (RFC 9110 section 8.6).
            fields.append((b"Content-Length", b"%d" % length))
        if framing[0] is BodyKind.CHUNKED:
            fields += [(b"Trailer", value) for value in removed.get(b"trailer", [])]
        if not self.reusable:
            fields.append((b"Connection", b"close"))
        elif self._head is not None and not self._head.http11:
            fields.append((b"Connection", b"keep-alive"))

    def _has_body(self, status: int) -> bool:
        head = self._head
        return status >= 200 and status not in (204, 304) and (head is None or head.method != b"HEAD")

    def _framing(self, response: http.Response, length: int | None) -> Framing:
        """Known content has its length, a stream what its head announced; the rest is chunked, or ends with the connection."""
        data = response.data
        if data.status_code == 101:
            return BodyKind.UNTIL_CLOSE, 0
        if not self._has_body(data.status_code):
            return NO_BODY
        http11 = self._head is None or self._head.http11
        if data.content is not None:
            if not (data.trailers and http11):
                return fixed(len(data.content))
        elif length is not None:
            return fixed(length)
        return (BodyKind.CHUNKED if http11 else BodyKind.UNTIL_CLOSE), 0

    def report_unwritable(self, detail: str) -> None:
        self.notices.violation(Reason.INTERNAL_ERROR, detail)

    def replace_response(self, error: BadMessage) -> CommandGenerator[None]:
        """The response cannot be written. Nothing has been sent: the client gets an error instead."""
        self.report_unwritable(error.detail)
        page = self.notices.error_response(500, describe(Reason.INTERNAL_ERROR, error.detail))
        self.writer = None
        yield commands.SendData(self.conn, page)
        yield from self.close()

    def _send_error(self, event: ResponseProtocolError) -> CommandGenerator[None]:
        if self.conn.state & ConnectionState.CAN_WRITE:
            status = event.code.http_status_code()
            if self.response is None and status is not None:
                yield commands.SendData(self.conn, self.notices.error_response(status, event.message))
        yield from self.close()

    # -- the end of an exchange

    def mark_done(self, *, request: bool = False, response: bool = False) -> CommandGenerator[None]:
        self.request_done |= request
        self.response_done |= response
        if not self.response_done:
            return
        if self.response is not None and self.response.data.status_code == 101:
            yield from self.make_pipe()
            return
        # Answered before its end, a request is not reusable either: its octets must not be read as the next one.
        if not self.reusable:
            yield from self.close()
            return
        self._reset()
        if self.inbox:
            self._at_once += 1
            try:
                yield from self._read(self.inbox)
            finally:
                self._at_once -= 1

    def _reset(self) -> None:
        self.request_done = self.response_done = False
        self.request = self.response = None
        self.writer = self._head = None
        self.stream_id += 2
        self.scanned = 0
        self.state = self.read_headers
