"""Sans-io readers of HTTP/1 bodies (RFC 9112 section 7), shared by both directions.

A reader is fed what arrives. It appends body octets to a list, without copying where a whole read is body, and returns
what comes after the message.
"""

import re
from enum import Enum, auto
from typing import Protocol

from appliance.config.server import Limits
from appliance.engine.http.faults import BadMessage, Fault
from appliance.engine.http.framing import BodyKind, Framing
from appliance.engine.http.grammar import Field, parse_fields
from appliance.engine.http.hops import clean_trailers

# 15 digits keep the size under 2**60: nothing that a 64-bit reader could wrap around.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?)\r\n\Z")
_SIZE_DIGITS = 15


class BodyReader(Protocol):
    done: bool
    trailers: tuple[Field, ...]

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        """Consume ``data``; returns the rest once ``done``. Raises BadMessage."""

    def end_of_stream(self) -> None:
        """The peer closed. Sets ``done`` or raises BadMessage(INCOMPLETE)."""


def make_reader(framing: Framing, limits: Limits) -> BodyReader:
    kind, length = framing
    if kind is BodyKind.CHUNKED:
        return ChunkedReader(limits)
    return UntilCloseReader() if kind is BodyKind.UNTIL_CLOSE else FixedReader(length)


class FixedReader:
    """Exactly ``length`` octets."""

    __slots__ = ("_left", "done", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.trailers: tuple[Field, ...] = ()

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        left = self._left
        size = len(data)
        if size <= left:
            self._left = left - size
            self.done = size == left
            if size:
                out.append(data)
            return b""
        if left:
            out.append(data[:left])
        self._left = 0
        self.done = True
        return data[left:]

    def end_of_stream(self) -> None:
        if not self.done:
            raise BadMessage(Fault.INCOMPLETE, f"closed {self._left} octets before the end of the body")


class UntilCloseReader:
    """A response without a length: ends with the connection."""

    __slots__ = ("done", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.trailers: tuple[Field, ...] = ()

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        if data:
            out.append(data)
        return b""

    def end_of_stream(self) -> None:
        self.done = True


class _At(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()


class ChunkedReader:
    """The chunked coding. Extensions are checked and dropped; legal trailers are in ``trailers`` when ``done``."""

    __slots__ = ("_at", "_body", "_extensions", "_held", "_left", "_limits", "done", "trailers")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._at = _At.SIZE
        self._held = b""
        self._left = 0
        self._body = 0
        self._extensions = 0
        self.done = False
        self.trailers: tuple[Field, ...] = ()

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        if self._held:
            data = self._held + data
            self._held = b""
        pos = 0
        while not self.done:
            at = self._at
            if at is _At.DATA:
                pos = self._take_data(data, pos, out)
                advanced = self._at is not at
            else:
                end = self._take_line(data, pos) if at is not _At.TRAILERS else self._take_trailers(data, pos)
                advanced = end >= 0
                pos = end if advanced else pos
            if not advanced:
                self._held = data[pos:]
                return b""
        return data[pos:]

    def _take_data(self, data: bytes, pos: int, out: list[bytes]) -> int:
        end = pos + self._left
        if end > len(data):
            end = len(data)
        if end > pos:
            out.append(data[pos:end])
        self._left -= end - pos
        if not self._left:
            self._at = _At.DATA_END
        return end

    def _take_line(self, data: bytes, pos: int) -> int:
        """Past the CRLF after a chunk, or past a chunk-size line; -1 when it is incomplete."""
        if self._at is _At.DATA_END:
            if not b"\r\n".startswith(data[pos : pos + 2]):
                raise BadMessage(Fault.GRAMMAR, "chunk data is not followed by CRLF")
            if len(data) < pos + 2:
                return -1
            self._at = _At.SIZE
            return pos + 2
        newline = data.find(b"\n", pos)
        if newline < 0:
            self._check_partial(data, pos)
            return -1
        self._begin_chunk(data[pos : newline + 1])
        return newline + 1

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_LINE.match(line)
        if match is None:
            raise self._bad_line(line)
        extension = len(match[2])
        if extension:
            self._count_extension(extension)
        self._left = int(match[1], 16)
        self._body += self._left
        self._at = _At.DATA if self._left else _At.TRAILERS

    def _bad_line(self, line: bytes) -> BadMessage:
        if len(line) - 2 > _SIZE_DIGITS + self._limits.chunk_extension and b";" in line:
            return BadMessage(Fault.EXTENSION, f"chunk extension over {self._limits.chunk_extension} bytes")
        return BadMessage(Fault.GRAMMAR, "malformed chunk-size line")

    def _count_extension(self, size: int) -> None:
        # Beyond the first, extensions are paid for with body octets: one octet per chunk with a full extension each
        # would otherwise be a cheap way to keep the parser busy.
        limit = self._limits.chunk_extension
        self._extensions += size
        if size > limit or self._extensions > limit + self._body:
            raise BadMessage(Fault.EXTENSION, f"chunk extension over {limit} bytes")

    def _check_partial(self, data: bytes, pos: int) -> None:
        size = len(data) - pos
        if size > _SIZE_DIGITS + self._limits.chunk_extension + 1:
            raise self._bad_line(data[pos:] + b"\r\n")
        if size > _SIZE_DIGITS and b";" not in data[pos : pos + _SIZE_DIGITS + 1] and data[pos + _SIZE_DIGITS] not in b" \t\r":
            raise BadMessage(Fault.GRAMMAR, "malformed chunk-size line")

    def _take_trailers(self, data: bytes, pos: int) -> int:
        """Past the trailer section and its blank line; -1 when it is incomplete."""
        if data.startswith(b"\r\n", pos):
            self.done = True
            return pos + 2
        end = data.find(b"\r\n\r\n", pos)
        size = (end + 2 if end >= 0 else len(data)) - pos
        if size > self._limits.trailer_size + (0 if end >= 0 else 3):
            raise BadMessage(Fault.TRAILERS, f"trailer section over {self._limits.trailer_size} bytes")
        if end < 0:
            return -1
        try:
            fields = parse_fields(data[pos : end + 2], self._limits.header_count)
        except BadMessage as error:
            fault = Fault.TRAILERS if error.fault is Fault.FIELD_COUNT else error.fault
            raise BadMessage(fault, f"trailers: {error.detail}") from error
        self.trailers = clean_trailers(fields)
        self.done = True
        return end + 4

    def end_of_stream(self) -> None:
        raise BadMessage(Fault.INCOMPLETE, "closed before the last chunk")
