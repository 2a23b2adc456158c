"""Time is handed in, never fetched: tests own it."""

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, UTC. For records and certificates."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back. For deadlines."""


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class ManualClock:
    """A clock for tests: it moves only when told to."""

    time: float = 1_700_000_000.0
    ticks: float = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.ticks

    def advance(self, seconds: float) -> None:
        self.time += seconds
        self.ticks += seconds
