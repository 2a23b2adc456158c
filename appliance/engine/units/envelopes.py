"""Messages behind five octets, a flag and a length: gRPC, gRPC-Web, and the streams of Connect."""

from collections.abc import Iterator
from typing import Final

from appliance.engine.messages import Unit
from appliance.engine.units.assembly import Reading

_HEAD: Final = 5
_PACKED: Final = 1


class EnvelopeReader(Reading):
    """The other bits of a flag, such as the one that marks trailers in a body, change nothing: what follows is data."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._head = bytearray()
        self._left: int | None = None
        """Of the message whose head has come."""

    def read(self, data: bytes) -> Iterator[Unit]:
        pos, size = 0, len(data)
        while pos < size:
            if self._left is None:
                step = min(_HEAD - len(self._head), size - pos)
                self._head += data[pos : pos + step]
                self._open()
            else:
                step = min(self._left, size - pos)
                self._unit.data += data[pos : pos + step]
                self._left -= step
            self._unit.wire += data[pos : pos + step]
            pos += step
            if self._left == 0:
                self._left = None
                yield self._unit.done()
        yield from self._unit.cut()

    def _open(self) -> None:
        if len(self._head) == _HEAD:
            self._unit.packed = bool(self._head[0] & _PACKED)
            self._left = int.from_bytes(self._head[1:])
            self._head.clear()

    def flush(self) -> Iterator[Unit]:
        """Half a message may be packed: it waits."""
        yield from ()
