"""Chunked bodies (RFC 3507 section 4.4, RFC 2616 section 3.6.1) with the ICAP extensions of the last chunk."""

import re
from enum import Enum, auto
from typing import Final

from icap.protocol.buffer import ReceiveBuffer
from icap.protocol.errors import LimitExceeded, RemoteProtocolError
from icap.protocol.headers import Headers, parse_fields
from icap.protocol.limits import DEFAULT_LIMITS, Limits

# More than 15 digits could pass 2**60: no body is that large, and other parsers overflow there.
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?=;|\Z)")
_EXTENSION: Final = re.compile(
    rb";[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
    rb"(?:[ \t]*=[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+|\"(?:[^\"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e])*\"))?[ \t]*"
)
_OFFSET: Final = re.compile(rb"[0-9]{1,15}")

LAST_CHUNK: Final = b"0\r\n\r\n"
LAST_CHUNK_IEOF: Final = b"0; ieof\r\n\r\n"


def encode_chunk(data: bytes) -> bytes:
    """One chunk; nothing for no data, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last(use_original_body: int | None) -> bytes:
    """The last chunk of a 206 answer: the original body follows from this offset."""
    return LAST_CHUNK if use_original_body is None else b"0; use-original-body=%d\r\n\r\n" % use_original_body


class _State(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()
    DONE = auto()


class ChunkDecoder:
    """Decodes one chunked body out of a buffer, piece by piece: a chunk is never held whole.

    ``size`` is the number of body bytes so far; ``ieof``, ``use_original_body`` and ``trailers`` hold when ``done``.
    """

    __slots__ = ("_extensions", "_left", "_limits", "_state", "ieof", "size", "trailers", "use_original_body")

    def __init__(self, limits: Limits = DEFAULT_LIMITS, size: int = 0) -> None:
        """``size``: bytes of the same body decoded before (a preview), counted against the limit."""
        self._limits = limits
        self._state = _State.SIZE
        self._left = 0
        self._extensions = 0
        self.size = size
        self.ieof = False
        self.use_original_body: int | None = None
        self.trailers = Headers()

    @property
    def done(self) -> bool:
        return self._state is _State.DONE

    def decode(self, buffer: ReceiveBuffer) -> bytes:
        """All the body bytes that are there.

        Raises:
            RemoteProtocolError: the framing is wrong.
            LimitExceeded: a line, the extensions, the trailer or the body is too large.
        """
        pieces: list[bytes] = []
        while self._step(buffer, pieces):
            pass
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _step(self, buffer: ReceiveBuffer, pieces: list[bytes]) -> bool:
        """Advance by one element; False when more bytes are needed or the body is complete."""
        state = self._state
        if state is _State.SIZE:
            return self._read_size(buffer)
        if state is _State.DATA:
            return self._read_data(buffer, pieces)
        if state is _State.DATA_END:
            return self._read_data_end(buffer)
        return state is _State.TRAILER and self._read_trailer(buffer)

    def _read_size(self, buffer: ReceiveBuffer) -> bool:
        line = buffer.take_through(b"\r\n", self._limits.chunk_line, "chunk_line")
        if line is None:
            return False
        match = _SIZE.match(line, 0, len(line) - 2)
        if match is None:
            raise RemoteProtocolError(f"not a chunk size: {line[:40]!r}")
        self._left = int(match[1], 16)
        if self.size + self._left > self._limits.body_bytes:
            raise LimitExceeded("body_bytes", self._limits.body_bytes, status=413)
        self._read_extensions(line, match.end())
        self._state = _State.DATA if self._left else _State.TRAILER
        return True

    def _read_extensions(self, line: bytes, start: int) -> None:
        end = len(line) - 2
        self._extensions += end - start
        if self._extensions > self._limits.extension_bytes:
            raise LimitExceeded("extension_bytes", self._limits.extension_bytes)
        while start < end:
            match = _EXTENSION.match(line, start, end)
            if match is None:
                raise RemoteProtocolError(f"not a chunk extension: {line[start : start + 40]!r}")
            start = match.end()
            if not self._left:
                self._note(match[1].lower(), match[2])

    def _note(self, name: bytes, value: bytes | None) -> None:
        if name == b"ieof":
            self.ieof = True
        elif name == b"use-original-body":
            if value is None or not _OFFSET.fullmatch(value) or self.use_original_body is not None:
                raise RemoteProtocolError(f"not one offset in use-original-body: {value!r}")
            self.use_original_body = int(value)

    def _read_data(self, buffer: ReceiveBuffer, pieces: list[bytes]) -> bool:
        piece = buffer.take(self._left)
        if not piece:
            return False
        pieces.append(piece)
        self.size += len(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = _State.DATA_END
        return True

    def _read_data_end(self, buffer: ReceiveBuffer) -> bool:
        if len(buffer) < 2:
            return False
        if buffer.take(2) != b"\r\n":
            raise RemoteProtocolError("chunk data longer than its size")
        self._state = _State.SIZE
        return True

    def _read_trailer(self, buffer: ReceiveBuffer) -> bool:
        if buffer.starts_with(b"\r\n"):
            buffer.take(2)
        elif buffer.starts_with(b"\r") and len(buffer) == 1:
            return False
        else:
            block = buffer.take_through(b"\r\n\r\n", self._limits.trailer_bytes, "trailer_bytes")
            if block is None:
                return False
            self.trailers = parse_fields(block[:-4].decode("latin-1"), self._limits)
        self._state = _State.DONE
        return False
