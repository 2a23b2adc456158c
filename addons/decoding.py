"""Content codings undone for inspection (RFC 9110 section 8.4.1), within limits; what is delivered stays as it was."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import brotli
import zstandard

_PIECE: Final = 256 * 1024
"""Bytes that a decoder gives at once."""
_SLICE: Final = 256
"""Bytes of zstd that are looked at in one step: a block of four bytes may stand for 128 KiB."""
_ZSTD_WINDOW: Final = 8 * 1024 * 1024
"""RFC 9659: what every decoder has to support, and none more."""
_MEMBERS: Final = 1000
_MEMBER: Final = 1024
"""Beyond that many members, they hold so many bytes each on average: an empty one costs as much as kilobytes of data, and a
thousand of them pack into a few octets of another coding."""
_ALWAYS: Final = 1024 * 1024
"""Decoded bytes to which no ratio applies: small texts of blanks are no bombs."""


class Undecodable(Exception):
    """The body is not what its Content-Encoding says, or unpacks to more than the limits allow."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes after decoding, decoded bytes for each encoded one, codings on top of each other."""

    size: int
    ratio: int
    depth: int


class _Members:
    """Of gzip; the frames of zstd."""

    def __init__(self) -> None:
        self.made = 0
        """Bytes that came of them."""
        self._count = 1

    def another(self) -> None:
        """Raises Undecodable: there are too many for what is in them."""
        self._count += 1
        if self._count > _MEMBERS + self.made // _MEMBER:
            raise Undecodable(f"{self._count} parts that hold {self.made} bytes")


class _Step(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...
    def end(self) -> None: ...


class _Zlib:
    """``gzip`` with any number of members, and ``deflate`` with or without zlib's wrapper, as browsers take it."""

    def __init__(self, bits: int, *, raw: bool) -> None:
        self._bits = bits
        self._inner = zlib.decompressobj(bits)
        self._members = _Members()
        self._open = raw
        """Whether there is a wrapper is still to be told, by the first two octets and nothing else: a second reading of what
        fails later could be made to find something harmless, where browsers have shown the first already."""
        self._start = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._open:
            data = self._start = self._start + data
            if len(data) < 2:
                return
            self._open = False
            if not _is_wrapped(data):
                self._bits = -zlib.MAX_WBITS
                self._inner = zlib.decompressobj(self._bits)
        while data:
            if self._inner.eof:
                self._members.another()
                self._inner = zlib.decompressobj(self._bits)
            piece = self._inner.decompress(data, _PIECE)
            if piece:
                self._members.made += len(piece)
                yield piece
            data = self._inner.unconsumed_tail or self._inner.unused_data
            if len(piece) == _PIECE and not data and not self._inner.eof:
                yield self._inner.flush(_PIECE)

    def end(self) -> None:
        if not self._inner.eof:
            raise Undecodable("it ends too early")


def _is_wrapped(data: bytes) -> bool:
    """By the header of zlib (RFC 1950 section 2.2)."""
    return data[0] & 15 == zlib.DEFLATED and not int.from_bytes(data[:2]) % 31


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inner.is_finished() and data:
            raise Undecodable("bytes after its end")
        piece = self._inner.process(data, output_buffer_limit=_PIECE)
        while piece:
            yield piece
            piece = b"" if self._inner.is_finished() else self._inner.process(b"", output_buffer_limit=_PIECE)

    def end(self) -> None:
        if not self._inner.is_finished():
            raise Undecodable("it ends too early")


class _Zstd:
    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._inner = self._decoder.decompressobj()
        self._members = _Members()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _SLICE):
            rest = data[at : at + _SLICE]
            while rest:
                if self._inner.eof:
                    self._members.another()
                    self._inner = self._decoder.decompressobj()
                if piece := self._inner.decompress(rest):
                    self._members.made += len(piece)
                    yield piece
                rest = self._inner.unused_data if self._inner.eof else b""

    def end(self) -> None:
        if not self._inner.eof:
            raise Undecodable("it ends too early")


_STEPS: Final[dict[str, Callable[[], _Step]]] = {
    "gzip": lambda: _Zlib(31, raw=False),
    "x-gzip": lambda: _Zlib(31, raw=False),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS, raw=True),
    "br": _Brotli,
    "zstd": _Zstd,
}


class Decoder:
    """Undoes ``codings``, which are in the order in which they were applied. Feed, take the pieces, end."""

    def __init__(self, codings: Iterable[str], bounds: Bounds) -> None:
        """Raises Undecodable: a coding that nobody knows, or too many."""
        names = [name for name in codings if name != "identity"]
        if len(names) > bounds.depth:
            raise Undecodable(f"{len(names)} content codings, limit {bounds.depth}")
        if unknown := [name for name in names if name not in _STEPS]:
            raise Undecodable(f"Content-Encoding {unknown[0][:32]}")
        self._steps = [_STEPS[name]() for name in reversed(names)]
        self._bounds = bounds
        self._taken = 0
        self._sizes = [0] * len(self._steps)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces. Raises Undecodable."""
        self._taken += len(data)
        try:
            yield from self._through(0, data)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise Undecodable("the body is not what its Content-Encoding says") from error

    def _through(self, step: int, data: bytes) -> Iterator[bytes]:
        if step == len(self._steps):
            yield data
            return
        for piece in self._steps[step].feed(data):
            self._measure(step, len(piece))
            yield from self._through(step + 1, piece)

    def _measure(self, step: int, size: int) -> None:
        """Between two codings as well: what unpacks to a gigabyte of nothing costs the same."""
        self._sizes[step] += size
        made, bounds = self._sizes[step], self._bounds
        if made > bounds.size:
            raise Undecodable(f"more than {bounds.size} bytes decoded")
        if made > _ALWAYS and made > self._taken * bounds.ratio:
            raise Undecodable(f"more than {bounds.ratio} times its size decoded")

    @property
    def size(self) -> int:
        """Decoded so far."""
        return self._sizes[-1] if self._sizes else self._taken

    def end(self) -> None:
        """Raises Undecodable: the body is incomplete."""
        if self._taken:
            for step in self._steps:
                step.end()


def decoded(data: bytes, codings: Iterable[str], bounds: Bounds) -> bytes:
    """A whole body. Raises Undecodable."""
    decoder = Decoder(codings, bounds)
    pieces = list(decoder.feed(data))
    decoder.end()
    return b"".join(pieces)
