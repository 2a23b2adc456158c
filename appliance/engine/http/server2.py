"""The client's side of HTTP/2: requests in, responses out."""

import time
from collections.abc import Callable

import h2.errors
import h2.events
from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http2 import Http2Server, StreamState

from appliance.config.server import Limits
from appliance.domain.reason import Reason
from appliance.engine.http.faults import CLIENT_REASONS, BadMessage, Fault, describe
from appliance.engine.http.grammar import Field
from appliance.engine.http.h2fields import H2Request, parse_h2_request, writable
from appliance.engine.http.h2meter import Clock, FrameMeter
from appliance.engine.http.head import parse_response_head
from appliance.engine.http.headers import make_headers
from appliance.engine.http.hops import REGENERATED
from appliance.engine.http.http2 import StrictHttp2
from appliance.engine.http.observer import Notices, plain_error

GO_ELSEWHERE = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0"
"""GOAWAY with the highest stream identifier and NO_ERROR: open no more streams here; all that are under way are served
(RFC 9113 section 6.8). Not by way of h2, which would send nothing more after it."""


class StrictHttp2Server(StrictHttp2, Http2Server):
    """``live``: how many flows of this connection are in progress, reset streams whose flow has not ended included."""

    reasons = CLIENT_REASONS

    def __init__(
        self, context: Context, limits: Limits, notices: Notices, clock: Clock, live: Callable[[], int], *, forward: bool
    ) -> None:
        super().__init__(context)
        meter = FrameMeter(limits.h2_streams_per_second, limits.h2_frames_per_second, limits.header_size, clock, preface=True)
        self.prepare(limits, notices, meter, limits.header_size)
        self._live = live
        self._told_to_leave = False
        self._scheme = None if forward else (b"https" if context.client.tls else b"http")

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if (yield from self.strict_event(event)):
            return
        if isinstance(event, ResponseHeaders):
            yield from self._send_head(event)
        elif isinstance(event, ResponseProtocolError):
            yield from self._send_error(event)
        else:
            if isinstance(event, ResponseData):
                self.meter.sent(len(event.data))
            yield from super()._handle_event(event)
            if isinstance(event, ResponseEndOfMessage) and self.is_closed(event.stream_id):
                self.streams.pop(event.stream_id, None)

    # -- requests

    def handle_h2_event(self, event: h2.events.Event) -> CommandGenerator[bool]:
        if isinstance(event, h2.events.RequestReceived):
            return (yield from self._request(event))
        if isinstance(event, h2.events.ConnectionTerminated) and not event.error_code:
            return False
        return (yield from super().handle_h2_event(event))

    def _request(self, event: h2.events.RequestReceived) -> CommandGenerator[bool]:
        stream_id, ended = event.stream_id or 0, event.stream_ended is not None
        # Rapid reset: h2 has forgotten the streams, their flows still work.
        if self._live() >= 2 * self.limits.h2_streams:
            yield from self.refuse_connection(BadMessage(Fault.FLOOD, "more streams opened than are finished"))
            return True
        try:
            parsed = parse_h2_request(event.headers or [], self.limits, self._scheme, ended)
        except BadMessage as error:
            self._refuse(stream_id, error)
            return False
        if parsed.length is not None:
            self.left[stream_id] = parsed.length
        self.streams[stream_id] = StreamState.HEADERS_RECEIVED
        yield ReceiveHttp(RequestHeaders(stream_id, _make_request(parsed), ended))
        return False

    def _refuse(self, stream_id: int, error: BadMessage) -> None:
        """No flow exists yet: the client gets an answer, and the stream ends."""
        reason = self.reasons[error.fault]
        self.notices.violation(reason, error.detail)
        self._send_page(stream_id, reason.status, describe(reason, error.detail))
        self.reset(stream_id)

    def fail_stream(self, stream_id: int, error: BadMessage) -> CommandGenerator[None]:
        reason = self.reasons[error.fault]
        self.notices.flow_violation(reason, error.detail)
        self.streams.pop(stream_id, None)
        self.reset(stream_id)
        message = describe(reason, error.detail)
        yield ReceiveHttp(self.ReceiveProtocolError(stream_id, message, self.ReceiveProtocolError.code))

    def reset_code(self, code: int) -> ErrorCode:
        return ErrorCode.CANCEL

    # -- responses

    def _send_head(self, event: ResponseHeaders) -> CommandGenerator[None]:
        if not self.is_open_for_us(event.stream_id):
            return
        if self.notices.leaving() and not self._told_to_leave:
            self._told_to_leave = True
            yield commands.SendData(self.conn, GO_ELSEWHERE)
        data = event.response.data
        fields: list[Field] = [(b":status", b"%d" % data.status_code)]
        fields += writable(item for item in data.headers.fields if item[0].lower() not in REGENERATED)
        if data.status_code >= 200 and data.status_code != 204:
            fields += _length_field(event.response)
        self.h2_conn.send_headers(event.stream_id, fields, end_stream=event.end_stream)
        yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def _send_error(self, event: ResponseProtocolError) -> CommandGenerator[None]:
        status = event.code.http_status_code()
        stream = self.h2_conn.streams.get(event.stream_id)
        started = stream is None or stream.state_machine.headers_sent
        if status is None or started or not self.is_open_for_us(event.stream_id):
            yield from super()._handle_event(event)
            return
        self._send_page(event.stream_id, status, event.message)
        # The rest of the request is not wanted any more (RFC 9113 section 8.1).
        self.reset(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
        yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def _send_page(self, stream_id: int, status: int, message: str) -> None:
        if not self.is_open_for_us(stream_id):
            return
        page = self.notices.error_response(status, message)
        try:
            head = parse_response_head(page, self.limits, b"GET")
        except BadMessage as error:
            self.notices.violation(Reason.INTERNAL_ERROR, f"error page: {error.detail}")
            page = plain_error(status, message)
            head = parse_response_head(page, self.limits, b"GET")
        if head is None:
            return
        fields = [(b":status", b"%d" % head.status), *writable(head.fields)]
        self.h2_conn.send_headers(stream_id, fields)
        self.h2_conn.send_data(stream_id, page[head.size :], end_stream=True)


def _make_request(parsed: H2Request) -> http.Request:
    target = parsed.target
    return http.Request(
        target.host, target.port, parsed.method, parsed.scheme, parsed.authority, parsed.path, b"HTTP/2.0",
        make_headers(parsed.fields), None, None, time.time(), None,
    )  # fmt: skip


def _length_field(response: http.Response) -> list[Field]:
    """What is in hand decides; a stream, or a response without a body, keeps what the upstream announced."""
    data = response.data
    if data.content and not data.trailers:
        return [(b"content-length", b"%d" % len(data.content))]
    lengths = [value for name, value in data.headers.fields if name.lower() == b"content-length"]
    return [(b"content-length", lengths[0])] if len(lengths) == 1 and lengths[0].isdigit() and not data.trailers else []
