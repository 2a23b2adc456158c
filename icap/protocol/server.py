"""The server's end of a connection."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from icap.protocol.answer_head import write_answer
from icap.protocol.buffer import ReceiveBuffer
from icap.protocol.chunks import ChunkDecoder, encode_chunk, encode_last
from icap.protocol.encapsulated import Encapsulated
from icap.protocol.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError, TruncatedMessage
from icap.protocol.events import (
    ConnectionClosed,
    Continue,
    Data,
    EndOfMessage,
    PreviewEnd,
    Request,
    RequestEvent,
    Response,
)
from icap.protocol.limits import DEFAULT_LIMITS, Limits
from icap.protocol.request_fields import request_fields
from icap.protocol.sections import check_section_sizes, read_head, read_sections, skip_blank_lines
from icap.protocol.whole import Whole, read_whole


class Reading(Enum):
    """Where the request that is being received stands."""

    IDLE = auto()
    SECTIONS = auto()
    PREVIEW = auto()
    DECISION = auto()
    """The preview is there; the client waits for 100 or the answer."""
    BODY = auto()
    DONE = auto()
    ERROR = auto()


class Writing(Enum):
    """Where the answer that is being sent stands."""

    IDLE = auto()
    BODY = auto()
    DONE = auto()


class ServerConnection:
    """Turns received bytes into request events and answer events into bytes, one request at a time.

    After a complete exchange ``next_events`` starts the next one: bytes of pipelined requests wait until then.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = ReceiveBuffer()
        self._close = False
        self._said: tuple[Response, bytes] | None = None
        self._reset()

    def _reset(self) -> None:
        self.reading = Reading.IDLE
        self.writing = Writing.IDLE
        self.request: Request | None = None
        self._continued = False
        self._partial = False
        self._blank_lines = self._limits.blank_lines
        self._pending: Request | None = None
        self._encapsulated: Encapsulated | None = None
        self._previewed = 0
        self._decoder: ChunkDecoder | None = None

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Between messages: not one byte of the next request is here."""
        return self.reading is Reading.IDLE and not self._buffer

    @property
    def paused(self) -> bool:
        """Nothing more is parsed until the application sends, so it should not read from the socket either."""
        return self.reading in (Reading.DECISION, Reading.DONE)

    @property
    def complete(self) -> bool:
        """The request was read to its end and the answer written to its end."""
        return self.reading is Reading.DONE and self.writing is Writing.DONE

    @property
    def must_close(self) -> bool:
        """The connection ends with this exchange: either side said ``Connection: close``, or an error broke it."""
        return self._close or self.reading is Reading.ERROR

    @property
    def may_send_204(self) -> bool:
        """RFC 3507 section 4.6: with ``Allow: 204``, or as the direct answer to a preview."""
        request = self.request
        return request is not None and ("204" in request.allow or (request.preview is not None and not self._continued))

    @property
    def may_send_206(self) -> bool:
        """``Allow: 206`` is for the direct answer to a preview, ``Allow: 204, 206`` for every answer."""
        return self.may_send_204 and self.request is not None and "206" in self.request.allow

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> list[RequestEvent]:
        """Events in ``data``; empty bytes mean the peer closed.

        Raises:
            RemoteProtocolError: answer with its status and close. ``TruncatedMessage``: close without an answer.
        """
        if not data:
            return [self._closed()]
        if self.reading is Reading.IDLE and not self._buffer and (whole := self._whole(data)) is not None:
            return self._take(whole)
        self._buffer.feed(data)
        if self.paused and len(self._buffer) > self._limits.pending_bytes:
            self.reading = Reading.ERROR
            raise LimitExceeded("pending_bytes", self._limits.pending_bytes)
        return self._parse()

    def next_events(self) -> list[RequestEvent]:
        """Go on after ``Continue``, or start the next request after a complete exchange, with the bytes at hand."""
        if self.complete:
            if self.must_close:
                raise LocalProtocolError("the connection closes after this exchange")
            self._reset()
        return self._parse() if self._buffer else []

    def _whole(self, data: bytes) -> Whole | None:
        try:
            return read_whole(data, self._limits, request_fields)
        except RemoteProtocolError:
            return None  # the general parser refuses it, with all that follows from that

    def _take(self, whole: Whole) -> list[RequestEvent]:
        self.request = whole[0]
        self._close = "close" in whole[0].headers.tokens("Connection")
        self.reading = Reading.DONE
        if len(whole) == 3 and type(whole[2]) is PreviewEnd:
            self._previewed = len(whole[1].data)
            self.reading = Reading.DECISION
        return [*whole]

    def _closed(self) -> ConnectionClosed:
        if self.idle or self.complete:
            return ConnectionClosed()
        self.reading = Reading.ERROR
        raise TruncatedMessage("the client closed inside a request")

    def _parse(self) -> list[RequestEvent]:
        events: list[RequestEvent] = []
        try:
            while (event := _READ[self.reading](self)) is not None:
                events.append(event)
        except RemoteProtocolError:
            self.reading = Reading.ERROR
            raise
        return events

    def _read_nothing(self) -> None:
        return None

    def _read_head(self) -> RequestEvent | None:
        self._blank_lines = skip_blank_lines(self._buffer, self._blank_lines)
        head = read_head(self._buffer, self._limits)
        if head is None:
            return None
        start, headers = head
        method, uri, self._encapsulated, preview = request_fields(start, headers)
        check_section_sizes(self._encapsulated, self._limits)
        self._close = "close" in headers.tokens("Connection")
        has_body = self._encapsulated.has_body
        self._pending = Request(method, uri, headers, body=has_body, preview=preview)
        self.reading = Reading.SECTIONS
        return self._read_sections()

    def _read_sections(self) -> RequestEvent | None:
        pending, encapsulated = self._pending, self._encapsulated
        if pending is None or encapsulated is None or (sections := read_sections(self._buffer, encapsulated)) is None:
            return None
        heads = (sections.get("req-hdr"), sections.get("res-hdr"))
        self.request = Request(pending.method, pending.uri, pending.headers, *heads, pending.body, pending.preview)
        if not pending.body:
            self.reading = Reading.DONE
        else:
            self.reading = Reading.BODY if pending.preview is None else Reading.PREVIEW
        return self.request

    def _decoding(self) -> ChunkDecoder:
        if self._decoder is None:
            self._decoder = ChunkDecoder(self._limits)
        return self._decoder

    def _read_body(self) -> RequestEvent | None:
        decoder = self._decoding()
        if data := decoder.decode(self._buffer):
            return Data(data)
        if not decoder.done:
            return None
        self.reading = Reading.DONE
        return EndOfMessage(trailers=decoder.trailers)

    def _read_preview(self) -> RequestEvent | None:
        decoder, request = self._decoding(), self.request
        data = decoder.decode(self._buffer)
        if request is not None and request.preview is not None and decoder.size > request.preview:
            raise RemoteProtocolError(f"more than the {request.preview} bytes of the preview")
        if data:
            return Data(data)
        if not decoder.done:
            return None
        if decoder.ieof:
            self.reading = Reading.DONE
            return EndOfMessage(ieof=True, trailers=decoder.trailers)
        self._previewed = decoder.size
        # A client that already has its answer sends nothing after the preview.
        self.reading = Reading.DECISION if self.writing is Writing.IDLE else Reading.DONE
        return PreviewEnd()

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, event: Continue | Response | Data | EndOfMessage) -> bytes:
        """The bytes of one event of the answer.

        Raises:
            LocalProtocolError: the protocol forbids it now.
        """
        match event:
            case Response():
                return self._send_response(event)
            case Continue():
                return self._send_continue()
            case Data():
                self._require(self.writing is Writing.BODY, "body bytes without an answer that has a body")
                return encode_chunk(event.data)
            case EndOfMessage():
                return self._send_end(event)

    def _require(self, condition: bool, problem: str) -> None:
        if not condition:
            raise LocalProtocolError(problem)

    def _send_continue(self) -> bytes:
        self._require(self.reading is Reading.DECISION, "100 Continue when no client waits for it")
        self.reading = Reading.BODY
        self._continued = True
        self._decoder = ChunkDecoder(self._limits, self._previewed)
        return b"ICAP/1.0 100 Continue\r\n\r\n"

    def _send_response(self, response: Response) -> bytes:
        self._require(self.writing is Writing.IDLE, "a second answer to one request")
        if self.reading is not Reading.ERROR:
            self._check_status(response)
        if self.reading in (Reading.IDLE, Reading.SECTIONS):
            self._close = True  # an answer to half a request: its rest cannot be told from the next one
        if self.reading is Reading.DECISION:
            self.reading = Reading.DONE
        self._close = self._close or "close" in response.headers.tokens("Connection")
        self._partial = response.status == 206
        self.writing = Writing.BODY if response.body else Writing.DONE
        return self._serialise(response)

    def _check_status(self, response: Response) -> None:
        if response.status == 204:
            self._require(self.may_send_204 and not response.body, "204 the client did not allow, or with a body")
        if response.status == 206:
            self._require(self.may_send_206, "206 the client did not allow")

    def _serialise(self, response: Response) -> bytes:
        """Services that say the same again and again do it with the same object."""
        if self._said is not None and self._said[0] is response and not self.must_close:
            return self._said[1]
        method = self.request.method if self.request is not None else None
        data = write_answer(response, method, close=self.must_close)
        self._said = (response, data) if not (self.must_close or response.body) else None
        return data

    def _send_end(self, event: EndOfMessage) -> bytes:
        self._require(self.writing is Writing.BODY, "the end of an answer that has no body")
        self._require(event.use_original_body is None or self._partial, "use-original-body in an answer that is no 206")
        self.writing = Writing.DONE
        return encode_last(event.use_original_body)


_READ: Final[dict[Reading, Callable[[ServerConnection], RequestEvent | None]]] = {
    Reading.IDLE: ServerConnection._read_head,
    Reading.SECTIONS: ServerConnection._read_sections,
    Reading.PREVIEW: ServerConnection._read_preview,
    Reading.BODY: ServerConnection._read_body,
    Reading.DECISION: ServerConnection._read_nothing,
    Reading.DONE: ServerConnection._read_nothing,
    Reading.ERROR: ServerConnection._read_nothing,
}
