"""The client's end of a connection."""

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from icap.protocol.buffer import ReceiveBuffer
from icap.protocol.chunks import LAST_CHUNK, LAST_CHUNK_IEOF, ChunkDecoder, encode_chunk
from icap.protocol.encapsulated import LEGAL_IN_REQUEST, LEGAL_IN_RESPONSE, Encapsulated, build_encapsulated, parse_encapsulated
from icap.protocol.errors import LocalProtocolError, RemoteProtocolError, TruncatedMessage
from icap.protocol.events import (
    ConnectionClosed,
    Continue,
    Data,
    EndOfMessage,
    PreviewEnd,
    Request,
    Response,
    ResponseEvent,
)
from icap.protocol.headers import Headers
from icap.protocol.limits import DEFAULT_LIMITS, Limits
from icap.protocol.sections import check_section_sizes, read_head, read_sections, skip_blank_lines

_STATUS_LINE: Final = re.compile(r"ICAP/1\.[0-9] ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_BODY_NAMES: Final = {"OPTIONS": "opt-body", "REQMOD": "req-body", "RESPMOD": "res-body"}


class Sending(Enum):
    """Where the request that is being sent stands."""

    IDLE = auto()
    PREVIEW = auto()
    DECISION = auto()
    """The preview is out; nothing may be sent before 100 Continue."""
    BODY = auto()
    DONE = auto()


class Receiving(Enum):
    """Where the answer that is being received stands."""

    IDLE = auto()
    HEAD = auto()
    SECTIONS = auto()
    BODY = auto()
    DONE = auto()
    ERROR = auto()


class ClientConnection:
    """Turns request events into bytes and received bytes into answer events, one request at a time.

    The answer may start at any time after the request's head, also while the body is still being sent.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = ReceiveBuffer()
        self._close = False
        self._reset()

    def _reset(self) -> None:
        self.sending = Sending.IDLE
        self.receiving = Receiving.IDLE
        self.request: Request | None = None
        self._previewed = 0
        self._ieof = False
        self._continued = False
        self._ignored_continue = False
        self._blank_lines = self._limits.blank_lines
        self._pending: Response | None = None
        self._encapsulated: Encapsulated | None = None
        self._decoder: ChunkDecoder | None = None

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        """The answer was read to its end, the request written to its end, nothing is left over, nobody said close."""
        return self.receiving is Receiving.DONE and self.sending is Sending.DONE and not self._close and not len(self._buffer)

    @property
    def answer_started(self) -> bool:
        """At least one byte of the answer has arrived: the request may have had an effect and is not sent again."""
        return self.receiving not in (Receiving.IDLE, Receiving.HEAD) or len(self._buffer) > 0

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, event: Request | Data | PreviewEnd | EndOfMessage) -> bytes:
        """The bytes of one event of the request.

        Raises:
            LocalProtocolError: the protocol forbids it now.
        """
        match event:
            case Request():
                return self._send_request(event)
            case Data():
                return self._send_data(event.data)
            case PreviewEnd():
                self._require(self.sending is Sending.PREVIEW, "the end of a preview that was not announced")
                self.sending = Sending.DECISION
                return LAST_CHUNK
            case EndOfMessage():
                return self._send_end(event)

    def next_cycle(self) -> None:
        """Make ready for the next request on the same connection.

        Raises:
            LocalProtocolError: the connection is not ``reusable``.
        """
        self._require(self.reusable, "the connection cannot carry another request")
        self._reset()

    def _require(self, condition: bool, problem: str) -> None:
        if not condition:
            raise LocalProtocolError(problem)

    def _send_request(self, request: Request) -> bytes:
        self._require(self.sending is Sending.IDLE, "a second request before the first is complete")
        self._require(request.method in _BODY_NAMES, f"method {request.method}")
        headers = request.headers
        self._require("Encapsulated" not in headers and "Preview" not in headers, "a header the core writes")
        body = _BODY_NAMES[request.method] if request.body else "null-body"
        encapsulated = build_encapsulated(request.request_head, request.response_head, body)
        self._require(encapsulated.names in LEGAL_IN_REQUEST[request.method], "sections the method does not have")
        preview = "" if request.preview is None else f"Preview: {request.preview}\r\n"
        head = f"{request.method} {request.uri} ICAP/1.0\r\n{headers.serialise()}{preview}Encapsulated: {encapsulated}\r\n\r\n"
        self._start(request)
        return b"".join((head.encode("latin-1"), request.request_head or b"", request.response_head or b""))

    def _start(self, request: Request) -> None:
        self.request = request
        self.receiving = Receiving.HEAD
        self._close = self._close or "close" in request.headers.tokens("Connection")
        if not request.body:
            self.sending = Sending.DONE
        else:
            self.sending = Sending.BODY if request.preview is None else Sending.PREVIEW

    def _send_data(self, data: bytes) -> bytes:
        self._require(self.sending in (Sending.PREVIEW, Sending.BODY), "body bytes the server does not wait for")
        if self.sending is Sending.PREVIEW:
            self._previewed += len(data)
            allowed = self.request.preview if self.request is not None else 0
            self._require(allowed is not None and self._previewed <= allowed, "more bytes than the preview takes")
        return encode_chunk(data)

    def _send_end(self, event: EndOfMessage) -> bytes:
        wanted = Sending.PREVIEW if event.ieof else Sending.BODY
        self._require(self.sending is wanted, "the end of a body that is not being sent")
        self._ieof = event.ieof
        self.sending = Sending.DONE
        return LAST_CHUNK_IEOF if event.ieof else LAST_CHUNK

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> list[ResponseEvent]:
        """Events in ``data``; empty bytes mean the peer closed.

        Raises:
            RemoteProtocolError: the connection is lost and the answer, if any, must not be used.
        """
        if not data:
            return [self._closed()]
        if self.receiving in (Receiving.IDLE, Receiving.DONE):
            self.receiving = Receiving.ERROR
            raise RemoteProtocolError("bytes nobody asked for")
        self._buffer.feed(data)
        events: list[ResponseEvent] = []
        try:
            while (event := _READ[self.receiving](self)) is not None:
                events.append(event)
        except RemoteProtocolError:
            self.receiving = Receiving.ERROR
            raise
        return events

    def _closed(self) -> ConnectionClosed:
        if self.receiving in (Receiving.IDLE, Receiving.DONE):
            self._close = True
            return ConnectionClosed()
        started = self.answer_started
        self.receiving = Receiving.ERROR
        raise TruncatedMessage("the server closed inside its answer" if started else "the server closed without an answer")

    def _read_nothing(self) -> None:
        return None

    def _read_head(self) -> ResponseEvent | None:
        self._blank_lines = skip_blank_lines(self._buffer, self._blank_lines)
        head = read_head(self._buffer, self._limits)
        if head is None:
            return None
        match = _STATUS_LINE.fullmatch(head[0])
        if match is None:
            raise RemoteProtocolError(f"not an ICAP status line: {head[0][:80]!r}")
        status = int(match[1])
        if status < 200:
            return self._read_continue(status, head[1])
        self._open(status, match[2] or "", head[1])
        return self._read_sections()

    def _read_continue(self, status: int, headers: Headers) -> ResponseEvent | None:
        """100 Continue. After ``ieof`` it is an error of the server that harms nobody: it is passed over, once."""
        parse = headers.single("Encapsulated")
        if status != 100 or (parse is not None and parse.strip() != "null-body=0"):
            raise RemoteProtocolError(f"status {status} where an answer was due")
        if self.sending is Sending.DECISION:
            self.sending = Sending.BODY
            self._continued = True
            return Continue()
        if not self._ieof or self._ignored_continue:
            raise RemoteProtocolError("100 Continue that no preview waits for")
        self._ignored_continue = True
        return self._read_head()

    def _open(self, status: int, reason: str, headers: Headers) -> None:
        text = headers.single("Encapsulated")
        method = self.request.method if self.request is not None else "OPTIONS"
        if text is None:
            self._check_absence(status, method)
            encapsulated = Encapsulated((("null-body", 0),))
        else:
            encapsulated = parse_encapsulated(text, LEGAL_IN_RESPONSE[method])
        if status == 204 and encapsulated.names != ("null-body",):
            raise RemoteProtocolError("204 with a message")
        self._check_allowed(status)
        check_section_sizes(encapsulated, self._limits)
        self._close = self._close or "close" in headers.tokens("Connection")
        self._encapsulated = encapsulated
        self._pending = Response(status, headers, None, None, encapsulated.has_body, reason, text is not None)
        self.receiving = Receiving.SECTIONS

    def _check_allowed(self, status: int) -> None:
        """204 and 206 rest on the original, which whoever does not allow them need not have kept any more. A preview allows
        204 by itself, until 100 Continue (RFC 3507 section 4.6)."""
        request = self.request
        if status not in (204, 206) or request is None:
            return
        kept = "204" in request.allow or (request.preview is not None and not self._continued)
        if not kept or (status == 206 and "206" not in request.allow):
            raise RemoteProtocolError(f"{status} was not asked for")

    def _check_absence(self, status: int, method: str) -> None:
        """No Encapsulated means no body: c-icap leaves it out of 204 and errors. A 200 has to say what it carries."""
        if status in (200, 206) and method != "OPTIONS":
            raise RemoteProtocolError(f"{status} without Encapsulated")
        if status >= 300:
            self._close = True  # an error page may follow that nothing announces

    def _read_sections(self) -> ResponseEvent | None:
        pending, encapsulated = self._pending, self._encapsulated
        if pending is None or encapsulated is None or (sections := read_sections(self._buffer, encapsulated)) is None:
            return None
        self._finish_preview()
        self._pending = None
        self.receiving = Receiving.BODY
        if pending.body:
            self._decoder = ChunkDecoder(self._limits)
        return Response(
            pending.status,
            pending.headers,
            sections.get("req-hdr"),
            sections.get("res-hdr"),
            pending.body,
            pending.reason,
            pending.encapsulated,
        )

    def _finish_preview(self) -> None:
        if self.sending is Sending.DECISION:
            self.sending = Sending.DONE  # the answer came instead of 100 Continue: the request ends with its preview

    def _read_body(self) -> ResponseEvent | None:
        decoder = self._decoder
        if decoder is None:
            return self._end(EndOfMessage())
        if data := decoder.decode(self._buffer):
            return Data(data)
        if not decoder.done:
            return None
        return self._end(EndOfMessage(decoder.ieof, decoder.use_original_body, decoder.trailers))

    def _end(self, event: EndOfMessage) -> EndOfMessage:
        self.receiving = Receiving.DONE
        return event


_READ: Final[dict[Receiving, Callable[[ClientConnection], ResponseEvent | None]]] = {
    Receiving.IDLE: ClientConnection._read_nothing,
    Receiving.HEAD: ClientConnection._read_head,
    Receiving.SECTIONS: ClientConnection._read_sections,
    Receiving.BODY: ClientConnection._read_body,
    Receiving.DONE: ClientConnection._read_nothing,
    Receiving.ERROR: ClientConnection._read_nothing,
}
