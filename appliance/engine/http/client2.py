"""The upstream's side of HTTP/2: requests out, responses in."""

import time

import h2.errors
import h2.events
from hpack.struct import NeverIndexedHeaderTuple
from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestData, RequestHeaders, ResponseHeaders
from mitmproxy.proxy.layers.http._http2 import Http2Client, StreamState

from appliance.config.server import Limits
from appliance.engine.http.client1 import MAX_INFORMATIONAL
from appliance.engine.http.faults import UPSTREAM_REASONS, BadMessage, Fault, describe
from appliance.engine.http.grammar import Field
from appliance.engine.http.h2fields import parse_h2_response, writable
from appliance.engine.http.h2meter import Clock, FrameMeter
from appliance.engine.http.headers import make_headers
from appliance.engine.http.hops import REGENERATED_REQUEST, tokens
from appliance.engine.http.http2 import StrictHttp2
from appliance.engine.http.observer import Notices
from appliance.engine.http.outgoing import values_of

_WITH_CONTENT = frozenset((b"POST", b"PUT", b"PATCH"))
_CREDENTIALS = frozenset((b"authorization", b"cookie"))


class StrictHttp2Client(StrictHttp2, Http2Client):
    """``draining``: the upstream takes no new streams, the open ones finish."""

    reasons = UPSTREAM_REASONS

    def __init__(self, context: Context, limits: Limits, notices: Notices, clock: Clock) -> None:
        super().__init__(context)
        size = limits.response_header_size
        # A response may be two header blocks, and the client's limit already bounds how many there are.
        meter = FrameMeter(4 * limits.h2_streams_per_second, limits.h2_frames_per_second, size, clock, preface=False)
        self.prepare(limits, notices, meter, size)
        self.draining = False
        self._heads: set[int] = set()
        self._informational: dict[int, int] = {}

    def _handle_event2(self, event: events.Event) -> CommandGenerator[None]:
        if (yield from self.strict_event(event)):
            return
        if isinstance(event, RequestHeaders):
            yield from self._send_head(event)
        else:
            if isinstance(event, RequestData):
                self.meter.sent(len(event.data))
            yield from super()._handle_event2(event)

    # -- requests

    def _send_head(self, event: RequestHeaders) -> CommandGenerator[None]:
        self.last_activity = time.time()
        self.h2_conn.send_headers(event.stream_id, _request_fields(event.request), end_stream=event.end_stream)
        self.streams[event.stream_id] = StreamState.EXPECTING_HEADERS
        if event.request.data.method == b"HEAD":
            self._heads.add(event.stream_id)
        yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def stream_backlog(self, stream_id: int) -> int:
        ours = self.our_stream_id.get(stream_id)
        if ours is not None:
            return self.waiting(ours)
        return sum(len(each.data) for each in self.stream_queue.get(stream_id, ()) if isinstance(each, RequestData))

    # -- responses

    def handle_h2_event(self, event: h2.events.Event) -> CommandGenerator[bool]:
        if isinstance(event, h2.events.ResponseReceived):
            return (yield from self._response(event))
        if isinstance(event, h2.events.InformationalResponseReceived):
            return (yield from self._skip_informational(event))
        if isinstance(event, h2.events.ConnectionTerminated) and not event.error_code:
            return (yield from self._drain(event.last_stream_id or 0))
        stop: bool = yield from super().handle_h2_event(event)
        if isinstance(event, h2.events.StreamEnded):
            self._forget(event.stream_id)
        if self.draining and not self.streams and not stop:
            yield commands.CloseConnection(self.conn)
        return stop

    def _response(self, event: h2.events.ResponseReceived) -> CommandGenerator[bool]:
        stream_id, ended = event.stream_id or 0, event.stream_ended is not None
        if self.streams.get(stream_id) is not StreamState.EXPECTING_HEADERS:
            if stream_id in self.streams:
                yield from self.fail_stream(stream_id, BadMessage(Fault.GRAMMAR, "a second response"))
            return False
        try:
            parsed = parse_h2_response(event.headers or [], self.limits)
            length = parsed.length
            if stream_id in self._heads or parsed.status in (204, 304):
                length = 0
            elif ended and length:
                raise BadMessage(Fault.AMBIGUOUS, "a content-length without a body")
        except BadMessage as error:
            yield from self.fail_stream(stream_id, error)
            return False
        if length is not None:
            self.left[stream_id] = length
        self.streams[stream_id] = StreamState.HEADERS_RECEIVED
        headers = make_headers(parsed.fields)
        response = http.Response(b"HTTP/2.0", parsed.status, b"", headers, None, None, time.time(), None)
        yield ReceiveHttp(ResponseHeaders(stream_id, response, ended))
        return False

    def _skip_informational(self, event: h2.events.InformationalResponseReceived) -> CommandGenerator[bool]:
        stream_id = event.stream_id or 0
        count = self._informational.get(stream_id, 0) + 1
        self._informational[stream_id] = count
        if count > MAX_INFORMATIONAL and stream_id in self.streams:
            error = BadMessage(Fault.GRAMMAR, f"more than {MAX_INFORMATIONAL} informational responses")
            yield from self.fail_stream(stream_id, error)
        return False

    def fail_stream(self, stream_id: int, error: BadMessage) -> CommandGenerator[None]:
        reason = self.reasons[error.fault]
        self.notices.flow_violation(reason, error.detail)
        self._forget(stream_id)
        self.reset(stream_id)
        message = describe(reason, error.detail)
        yield ReceiveHttp(self.ReceiveProtocolError(stream_id, message, self.ReceiveProtocolError.code))

    def reset_code(self, code: int) -> ErrorCode:
        """A browser falls back to HTTP/1.1 when it is told to over HTTP/2; every other client gets an answer."""
        if code == h2.errors.ErrorCodes.HTTP_1_1_REQUIRED and self.context.client.alpn == b"h2":
            return ErrorCode.HTTP_1_1_REQUIRED
        return ErrorCode.GENERIC_SERVER_ERROR

    def _forget(self, stream_id: int) -> None:
        """The response is over. What the upstream still says about the stream, such as that it wants no more of it, is late."""
        self.streams.pop(stream_id, None)
        self._heads.discard(stream_id)
        self._informational.pop(stream_id, None)

    def _drain(self, last_stream_id: int) -> CommandGenerator[bool]:
        self.draining = True
        for stream_id in [number for number in self.streams if number > last_stream_id]:
            self._forget(stream_id)
            message = describe(self.reasons[Fault.INCOMPLETE], "the server takes no more requests on this connection")
            yield ReceiveHttp(self.ReceiveProtocolError(stream_id, message, self.ReceiveProtocolError.code))
        if not self.streams:
            yield from self.close_connection(describe(self.reasons[Fault.INCOMPLETE], "closed by the server"))
            return True
        return False


def _request_fields(request: http.Request) -> list[Field]:
    data = request.data
    hosts = values_of(data.headers.fields, b"host")
    authority = data.authority or (hosts[0] if hosts else b"")
    fields: list[Field] = [(b":method", data.method), (b":scheme", data.scheme), (b":path", data.path)]
    if authority:
        fields.append((b":authority", authority))
    kept = writable(item for item in data.headers.fields if item[0].lower() not in REGENERATED_REQUEST)
    # Credentials stay out of the compression state, where they could be probed (RFC 7541 section 7.1.3).
    fields += [NeverIndexedHeaderTuple(*item) if item[0] in _CREDENTIALS else item for item in kept]
    if b"trailers" in tokens(values_of(data.headers.fields, b"te")):
        fields.append((b"te", b"trailers"))
    return fields + _length_field(request)


def _length_field(request: http.Request) -> list[Field]:
    data = request.data
    if data.content is not None:
        if data.trailers or not (data.content or data.method in _WITH_CONTENT):
            return []
        return [(b"content-length", b"%d" % len(data.content))]
    lengths = values_of(data.headers.fields, b"content-length")
    return [(b"content-length", lengths[0])] if len(lengths) == 1 and lengths[0].isdigit() else []
