"""How long each phase of a connect took."""

from appliance.domain.clock import Clock
from appliance.domain.notes import EscapeNotes


class phase:
    """Adds the milliseconds of the block to ``notes.ms[name]``, also when it raises. Generators cost four times as much."""

    __slots__ = ("_clock", "_name", "_notes", "_start")

    def __init__(self, notes: EscapeNotes, name: str, clock: Clock) -> None:
        self._notes, self._name, self._clock = notes, name, clock

    def __enter__(self) -> None:
        self._start = self._clock.monotonic()

    def __exit__(self, *_: object) -> None:
        spent = (self._clock.monotonic() - self._start) * 1000
        self._notes.ms[self._name] = round(self._notes.ms.get(self._name, 0.0) + spent, 3)
