"""Counts that are added up in memory before they go to the shared file: one write for many tasks, instead of one for each."""

from bisect import bisect_left
from typing import Any


class Tally:
    """``child`` is a counter or a histogram with its labels bound. For one thread."""

    __slots__ = ("_bounds", "_buckets", "_child", "_sum")

    def __init__(self, child: Any) -> None:
        self._child = child
        # prometheus_client takes one observation at a time; many at once only through its buckets
        self._bounds: list[float] = getattr(child, "_upper_bounds", [])
        self._buckets = [0] * len(self._bounds)
        self._sum = 0.0

    def inc(self, amount: float = 1.0) -> None:
        self._sum += amount

    def observe(self, value: float) -> None:
        self._sum += value
        self._buckets[bisect_left(self._bounds, value)] += 1

    def flush(self) -> None:
        """Hand over what was added up since the last time."""
        total, self._sum = self._sum, 0.0
        if not self._buckets:
            if total:
                self._child.inc(total)
        elif any(self._buckets):
            self._child._sum.inc(total)
            for place, count in enumerate(self._buckets):
                if count:
                    self._child._buckets[place].inc(count)
            self._buckets = [0] * len(self._bounds)
