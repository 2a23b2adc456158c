"""A body of which nothing is known but that it pauses: what has come until then is a unit."""

from collections.abc import Iterator

from appliance.engine.messages import Unit
from appliance.engine.units.assembly import Assembly


class PauseReader:
    """What comes without a pause is judged in units of ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._unit = Assembly(limit)
        self._limit = limit

    @property
    def held(self) -> int:
        return self._unit.held

    def give_up(self) -> None:
        self._unit.give_up()

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

    def flush(self) -> Iterator[Unit]:
        yield from self._unit.flush()
