"""A body of which nothing is known but that it pauses: what has come until then is a unit."""

from collections.abc import Iterator

from appliance.engine.messages import Unit
from appliance.engine.units.assembly import Reading


class PauseReader(Reading):
    """What comes without a pause is judged in units of ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._limit = limit

    def read(self, data: bytes) -> Iterator[Unit]:
        while data:
            room = self._limit - len(self._unit.data)
            self._unit.wire += data[:room]
            self._unit.data += data[:room]
            data = data[room:]
            if len(self._unit.data) == self._limit:
                yield self._unit.done()
        yield from self._unit.cut()

    def end(self) -> Iterator[Unit]:
        yield from self._unit.flush()
