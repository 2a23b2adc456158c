"""A unit that is arriving."""

from collections.abc import Iterator
from typing import Final

from appliance.engine.messages import Unit

_FRAMING: Final = 1024
"""Bytes that may stand around the data of a unit beyond the limit of its data: empty lines are no way around it."""


class Assembly:
    """``wire``: as it came. ``data``, ``flat``, ``beside``: what of it a scanner is shown (``messages.Unit``). Each is held up
    to ``limit`` bytes; of a larger unit what is held is let go at the end of a read, and the rest goes as it comes."""

    def __init__(self, limit: int) -> None:
        self.wire = bytearray()
        self.data = bytearray()
        self.flat: bytearray | None = None
        self.beside = bytearray()
        self.packed = False
        self._limit = limit
        self._over = False
        """What was held of it has been let go."""
        self._crowded = False

    @property
    def held(self) -> int:
        return len(self.wire) + len(self.data) + len(self.flat or b"") + len(self.beside)

    @property
    def full(self) -> bool:
        """Nothing more of it may be held."""
        size = max(len(self.data), len(self.beside))
        around = len(self.wire) - len(self.data) - len(self.beside)
        return self._crowded or size > self._limit or around > self._limit + _FRAMING

    def give_up(self) -> None:
        self._crowded = self.held > 0

    def done(self) -> Unit:
        """Its end has come."""
        unit = self._take(last=True)
        self._over = self._crowded = self.packed = False
        return unit

    def cut(self) -> Iterator[Unit]:
        """At the end of a read: what cannot be held any longer."""
        if self.wire and (self._over or self.full):
            yield self._take(last=False)

    def flush(self) -> Iterator[Unit]:
        """What is held is judged for itself."""
        if self.wire:
            yield self._take(last=False, part=True)

    def _take(self, *, last: bool, part: bool = False) -> Unit:
        rest, whole = self._over, (last or part) and not self.full
        flat = None if self.flat is None else bytes(self.flat)
        unit = Unit(
            bytes(self.wire), bytes(self.data), self.packed, flat=flat, beside=bytes(self.beside), whole=whole,
            crowded=self._crowded and not whole, rest=rest, last=last,
        )  # fmt: skip
        self._over = self._over or not whole
        for each in (self.wire, self.data, self.beside):
            each.clear()
        self.flat = None
        return unit


class Reading:
    """What is the same for the readers of units (``messages.UnitReader``)."""

    def __init__(self, limit: int) -> None:
        self._unit = Assembly(limit)

    @property
    def held(self) -> int:
        return self._unit.held

    def give_up(self) -> None:
        self._unit.give_up()

    def end(self) -> Iterator[Unit]:
        """A unit that is not complete may be none to who reads it; its bytes go on all the same."""
        if self._unit.wire:
            yield self._unit.done()

    def flush(self) -> Iterator[Unit]:
        yield from self._unit.flush()
