"""WebSocket messages put together from their frames (RFC 6455 section 5.4), up to a limit."""

from collections.abc import Iterator
from typing import Final

from appliance.engine.frames import FrameReader
from appliance.engine.messages import Unit

_FRAMING: Final = 1024
"""Bytes of frame headers that a message may have beyond the limit of its data: fragments of no bytes are no way around it."""


class MessageReader(FrameReader):
    """Reads one direction. Control frames go on by themselves, as they may between the fragments of a message."""

    def __init__(self, *, masked: bool, extended: bool, limit: int) -> None:
        super().__init__(masked=masked, extended=extended)
        self._limit = limit
        self._wire = bytearray()
        self._data = bytearray()
        self._control = bytearray()
        self._opcode = 0
        self._final = False
        self._mask = b""
        self._packed = False
        self._text = False
        self._over = False
        """What is held of this message has been let go: the rest goes as it comes."""
        self._crowded = False

    @property
    def held(self) -> int:
        return len(self._wire) + len(self._data)

    def give_up(self) -> None:
        self._crowded = self.held > 0

    def end(self) -> Iterator[Unit]:
        """A message that is not complete is none."""
        yield from ()

    flush = end

    def read(self, data: bytes) -> Iterator[Unit]:
        """What is complete. Raises BadFrame."""
        pos, size = 0, len(data)
        while pos < size:
            if self._left:
                step = min(self._left, size - pos)
                self._payload(data[pos : pos + step])
                self._left -= step
            else:
                step = min(self._missing(), size - pos)
                self._head += data[pos : pos + step]
                if not self._missing():
                    self._open(bytes(self._head))
            pos += step
            if not self._left and not self._head:
                yield from self._frame_over()
        if self._too_much() or (self._over and self._wire):
            yield self._let_go(last=False)

    def _open(self, head: bytes) -> None:
        self._begin()
        opcode = head[0] & 0x0F
        self._mask = head[-4:] if self._masked else b""
        self._opcode, self._final = opcode, bool(head[0] & 0x80)
        if opcode >= 8:
            self._control += head
            return
        if opcode:
            self._packed, self._text = bool(head[0] & 0x40), opcode == 1
        self._wire += head

    def _payload(self, piece: bytes) -> None:
        if self._opcode >= 8:
            self._control += piece
            return
        self._wire += piece
        self._data += _unmasked(piece, self._mask)
        if turn := len(piece) % 4:
            self._mask = self._mask[turn:] + self._mask[:turn]

    def _frame_over(self) -> Iterator[Unit]:
        if self._opcode >= 8:
            wire = bytes(self._control)
            self._control.clear()
            yield Unit(wire, last=False)
        elif self._final:
            yield self._let_go(last=True)
            self._over = self._crowded = False

    def _too_much(self) -> bool:
        size, framing = len(self._data), len(self._wire) - len(self._data)
        return not self._over and (size > self._limit or framing > self._limit + _FRAMING or self._crowded)

    def _let_go(self, *, last: bool) -> Unit:
        wire, data = bytes(self._wire), bytes(self._data)
        self._wire.clear()
        self._data.clear()
        rest, whole = self._over, last and len(data) <= self._limit
        self._over = self._over or not whole
        return Unit(
            wire, data, self._packed, self._text, whole=whole, crowded=self._crowded and not whole, rest=rest, last=last
        )


def _unmasked(data: bytes, mask: bytes) -> bytes:
    if not mask or mask == b"\0\0\0\0":
        return data
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(key)).to_bytes(size)
