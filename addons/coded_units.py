"""Units of a body that is packed as a whole: found in what it unpacks to, while the packed bytes go on as they came."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Protocol

from addons.decoding import Decoder, Undecodable
from appliance.engine.messages import Unit, UnitReader

_AHEAD: Final = 64 * 1024
"""Packed bytes that may wait for the end of a unit beyond the limit of its data."""


class Undo(Protocol):
    """Undoes what was done to the body, as it comes."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises Undecodable."""

    def last(self) -> Iterator[bytes]:
        """The body is over: what a lenient reader makes of what is left. Raises Undecodable."""


class CodedUnits:
    """The units of ``inner``. Packed bytes go on with the last unit that came of them. What of a unit came of them as well and
    is not complete is judged as it is, where that can be: to hold them back for it would delay what is complete."""

    def __init__(self, inner: UnitReader, undo: Undo, limit: int) -> None:
        self._inner = inner
        self._undo = undo
        self._limit = limit
        self._wire = bytearray()
        self._why = ""

    @property
    def held(self) -> int:
        return self._inner.held + len(self._wire)

    def give_up(self) -> None:
        self._inner.give_up()

    def read(self, data: bytes) -> Iterator[Unit]:
        if self._why:
            yield Unit(data, b"", rest=True, last=False)
            return
        self._wire += data
        units: list[Unit] = []
        try:
            for piece in self._undo.feed(data):
                units += self._inner.read(piece)
        except Undecodable as error:
            yield from map(_bare, units)
            yield self._broken(str(error))
            return
        yield from self._go_on(units)

    def end(self) -> Iterator[Unit]:
        units: list[Unit] = []
        try:
            for piece in self._undo.last() if not self._why else ():
                units += self._inner.read(piece)
        except Undecodable as error:
            yield self._broken(str(error))
        yield from self._go_on([*units, *self._inner.end()], over=True)

    def flush(self) -> Iterator[Unit]:
        yield from self._go_on([])

    def _go_on(self, units: list[Unit], *, over: bool = False) -> Iterator[Unit]:
        units += self._inner.flush()
        if self._inner.held and not over:
            yield from map(_bare, units)
            if len(self._wire) > self._limit + _AHEAD:
                self._inner.give_up()
            return
        wire = bytes(self._wire)
        self._wire.clear()
        yield from map(_bare, units[:-1])
        if units:
            yield replace(units[-1], wire=wire)
        elif wire:
            yield Unit(wire, last=False)

    def _broken(self, why: str) -> Unit:
        self._why = why
        wire = bytes(self._wire)
        self._wire.clear()
        return Unit(wire, b"", broken=why, whole=False, last=False)


def _bare(unit: Unit) -> Unit:
    return replace(unit, wire=b"")


class Codings(Decoder):
    """Content codings. One that is cut off has been undone as far as anybody can."""

    def last(self) -> Iterator[bytes]:
        return iter(())


class Base64:
    """Base64 in any number of pieces, each padded by itself (gRPC-Web text)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._rest + data.translate(None, b" \t\r\n")
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        start = 0
        while start < whole:
            padded = data.find(b"=", start, whole)
            end = whole if padded < 0 else padded - padded % 4 + 4
            try:
                yield base64.b64decode(data[start:end], validate=True)
            except binascii.Error as error:
                raise Undecodable("it is no Base64") from error
            start = end

    def last(self) -> Iterator[bytes]:
        """Readers that want no padding find the end of a message in what is left."""
        rest, self._rest = self._rest, b""
        if len(rest) == 1:
            raise Undecodable("Base64 that ends too early")
        if rest:
            yield from self.feed(rest + b"=" * (4 - len(rest)))
