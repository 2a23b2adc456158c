"""Records that each take a line (NDJSON, JSON Lines, and with a record separator before each, RFC 7464)."""

from collections.abc import Iterator

from appliance.engine.messages import Unit
from appliance.engine.units.assembly import Reading


class LineReader(Reading):
    """The complete lines that are there together are one unit: files of a million records come this way as well."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._limit = limit

    def read(self, data: bytes) -> Iterator[Unit]:
        start, end = 0, data.rfind(b"\n") + 1
        while start < end:
            stop = self._stop(data, start, end)
            self._add(data[start:stop])
            start = stop
            yield self._unit.done()
        self._add(data[end:])
        yield from self._unit.cut()

    def _stop(self, data: bytes, start: int, end: int) -> int:
        """As many lines as are within the limit; at least one."""
        room = start + self._limit - len(self._unit.data)
        if end <= room:
            return end
        return data.rfind(b"\n", start, max(start, room)) + 1 or data.index(b"\n", start) + 1

    def _add(self, data: bytes) -> None:
        self._unit.wire += data
        self._unit.data += data
