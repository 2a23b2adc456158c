"""What the client's and the upstream's HTTP/2 connection share: limits, lengths, and errors with reason words."""

from abc import abstractmethod
from collections.abc import Mapping

import h2.errors
import h2.events
import h2.exceptions
from h2.connection import ConnectionInputs
from h2.settings import SettingCodes
from hyperframe.frame import Frame, GoAwayFrame
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestTrailers, ResponseTrailers
from mitmproxy.proxy.layers.http._http2 import Http2Connection
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection

from appliance.config.server import Limits
from appliance.domain.reason import Reason
from appliance.engine.http.faults import BadMessage, Fault, describe
from appliance.engine.http.h2fields import parse_h2_trailers, writable
from appliance.engine.http.h2meter import FrameMeter
from appliance.engine.http.headers import make_headers
from appliance.engine.http.hops import clean_trailers
from appliance.engine.http.observer import Notices

_TABLE_SIZE = 4096
"""Octets of our HPACK encoder's dynamic table: a peer may offer 4 GiB, which we would fill with what it makes us send."""


class StrictH2Connection(BufferedH2Connection):
    """A GOAWAY without an error lets open streams finish (RFC 9113 section 6.8); h2 itself closes everything at once."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        if frame.error_code:
            return super()._receive_goaway_frame(frame)
        event = h2.events.ConnectionTerminated()
        event.error_code = h2.errors.ErrorCodes.NO_ERROR
        event.last_stream_id = frame.last_stream_id
        return [], [event]

    def shut(self, error_code: int, detail: bytes) -> bytes:
        """The GOAWAY to send last, whatever was queued before it."""
        self.state_machine.process_input(ConnectionInputs.SEND_GOAWAY)
        frame = GoAwayFrame(0, last_stream_id=self.highest_inbound_stream_id, error_code=error_code, additional_data=detail)
        return frame.serialize()


class StrictHttp2(Http2Connection):
    """``left`` holds, per stream, how many announced body octets are still to come."""

    limits: Limits
    notices: Notices
    meter: FrameMeter
    reasons: Mapping[Fault, Reason]
    left: dict[int, int]
    body_octets: int
    """DATA received on all streams."""
    h2_conn: StrictH2Connection

    def prepare(self, limits: Limits, notices: Notices, meter: FrameMeter, list_size: int) -> None:
        """Set the limits on a fresh h2 connection, before its preface is written."""
        self.limits, self.notices, self.meter = limits, notices, meter
        self.left = {}
        self.body_octets = 0
        self.h2_conn = StrictH2Connection(self.h2_conf)
        settings = self.h2_conn.local_settings
        settings.max_concurrent_streams = limits.h2_streams
        settings.max_header_list_size = list_size
        if self.h2_conf.client_side:
            settings.enable_push = 0
        settings.acknowledge()
        self.h2_conn.decoder.max_header_list_size = list_size

    def strict_event(self, event: events.Event) -> CommandGenerator[bool]:
        """Look at an event before the base class does. True: it has been dealt with."""
        if isinstance(event, events.DataReceived):
            try:
                self.meter.measure(event.data)
            except BadMessage as error:
                yield from self.refuse_connection(error)
                return True
        elif isinstance(event, (RequestTrailers, ResponseTrailers)):
            event.trailers = make_headers(tuple(writable(clean_trailers(list(event.trailers.fields)))))
        elif isinstance(event, events.ConnectionClosed):
            yield from self.close_connection(describe(self.reasons[Fault.INCOMPLETE], "closed the connection"))
            return True
        return False

    def refuse_connection(self, error: BadMessage) -> CommandGenerator[None]:
        reason = self.reasons[error.fault]
        told_by_flows = self.h2_conf.client_side and bool(self.streams)
        (self.notices.flow_violation if told_by_flows else self.notices.violation)(reason, error.detail)
        calm = error.fault in (Fault.FLOOD, Fault.HEAD_SIZE)
        code = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM if calm else h2.errors.ErrorCodes.PROTOCOL_ERROR
        yield commands.SendData(self.conn, self.h2_conn.shut(code, reason.word.encode()))
        yield from self.close_connection(describe(reason, error.detail))

    @abstractmethod
    def fail_stream(self, stream_id: int, error: BadMessage) -> CommandGenerator[None]:
        """The peer broke a rule on one stream."""

    def reset(self, stream_id: int, code: int = h2.errors.ErrorCodes.PROTOCOL_ERROR) -> None:
        self.left.pop(stream_id, None)
        if not self.is_closed(stream_id):
            self.h2_conn.reset_stream(stream_id, code)

    def handle_h2_event(self, event: h2.events.Event) -> CommandGenerator[bool]:
        if isinstance(event, h2.exceptions.ProtocolError):
            yield from self.refuse_connection(_fault_of(event))
            return True
        if isinstance(event, h2.events.DataReceived):
            return (yield from self._data(event))
        if isinstance(event, h2.events.TrailersReceived):
            return (yield from self._trailers(event))
        if isinstance(event, h2.events.StreamReset):
            yield from self._reset(event)
            return False
        if isinstance(event, h2.events.StreamEnded):
            # The base class forgets the stream here when a RST_STREAM came with the same read, and then misses the reset.
            self.left.pop(event.stream_id, None)
            if event.stream_id in self.streams:
                yield ReceiveHttp(self.ReceiveEndOfMessage(event.stream_id))
            return False
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self._cap_table(event)
        return (yield from super().handle_h2_event(event))

    def _cap_table(self, event: h2.events.RemoteSettingsChanged) -> None:
        if SettingCodes.HEADER_TABLE_SIZE in event.changed_settings:
            encoder = self.h2_conn.encoder
            encoder.header_table_size = min(encoder.header_table_size, _TABLE_SIZE)

    def _data(self, event: h2.events.DataReceived) -> CommandGenerator[bool]:
        self.body_octets += len(event.data or b"")
        left = self.left.get(event.stream_id)
        if left is not None and event.stream_id in self.streams:
            left -= len(event.data or b"")
            if left < 0 or (event.stream_ended and left):
                yield from self.fail_stream(event.stream_id, BadMessage(Fault.AMBIGUOUS, "DATA differs from content-length"))
                return False
            self.left[event.stream_id] = left
        return (yield from super().handle_h2_event(event))

    def _trailers(self, event: h2.events.TrailersReceived) -> CommandGenerator[bool]:
        stream_id = event.stream_id
        if stream_id not in self.streams:
            return False
        try:
            if self.left.get(stream_id):
                raise BadMessage(Fault.AMBIGUOUS, "DATA differs from content-length")
            trailers = parse_h2_trailers(event.headers or [], self.limits)
        except BadMessage as error:
            yield from self.fail_stream(stream_id, error)
            return False
        if trailers:
            yield ReceiveHttp(self.ReceiveTrailers(stream_id, make_headers(trailers)))
        return False

    def _reset(self, event: h2.events.StreamReset) -> CommandGenerator[None]:
        self.left.pop(event.stream_id, None)
        if self.streams.pop(event.stream_id, None) is not None:
            code = self.reset_code(int(event.error_code or 0))
            message = describe(self.reasons[Fault.INCOMPLETE], "stream reset")
            yield ReceiveHttp(self.ReceiveProtocolError(event.stream_id, message, code))

    @abstractmethod
    def reset_code(self, code: int) -> ErrorCode:
        """What the other side is told when the peer resets a stream with ``code``."""

    def backlog(self) -> int:
        """Body octets that wait for the peer's flow-control window."""
        return sum(len(piece.data) for queue in self.h2_conn.stream_buffers.values() for piece in queue)

    def stream_backlog(self, stream_id: int) -> int:
        """The same for one stream, by the number that its flow knows."""
        return self.waiting(stream_id)

    def waiting(self, number: int) -> int:
        """The same, by the number on this connection."""
        return sum(len(piece.data) for piece in self.h2_conn.stream_buffers.get(number, ()))


def _fault_of(error: h2.exceptions.ProtocolError) -> BadMessage:
    """h2's exceptions in our terms. Their text is our library's, but may quote the peer: only the class name is kept."""
    name = type(error).__name__
    if isinstance(error, h2.exceptions.DenialOfServiceError):
        return BadMessage(Fault.HEAD_SIZE, "header list over the limit")
    if isinstance(error, h2.exceptions.TooManyStreamsError):
        return BadMessage(Fault.FLOOD, "more concurrent streams than the limit")
    if isinstance(error, h2.exceptions.InvalidBodyLengthError):
        return BadMessage(Fault.AMBIGUOUS, "DATA differs from content-length")
    return BadMessage(Fault.GRAMMAR, f"HTTP/2 {name}")
