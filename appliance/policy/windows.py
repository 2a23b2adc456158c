"""Times of the week: is it such a time now?"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from appliance.config.times import TimeWindow, parse_hours

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WHOLE_DAY: Final = (0, 24 * 60)


@dataclass(frozen=True, slots=True)
class _Window:
    days: frozenset[int]
    """As ``datetime.weekday`` counts: Monday is 0."""
    spans: tuple[tuple[int, int], ...]
    """Minutes of the day; an end before the start is on the next day."""
    zone: ZoneInfo

    def holds(self, now: float) -> bool:
        """By the clock on the wall there: where a day has 23 or 25 hours, an hour is missing or comes twice."""
        local = datetime.fromtimestamp(now, self.zone)
        today, minute = local.weekday(), local.hour * 60 + local.minute
        return any(self._within(today, minute, *span) for span in self.spans)

    def _within(self, today: int, minute: int, start: int, end: int) -> bool:
        if start < end:
            return today in self.days and start <= minute < end
        evening = today in self.days and minute >= start
        return evening or ((today - 1) % 7 in self.days and minute < end)


class Windows:
    """Several; one that holds is enough. Immutable."""

    __slots__ = ("_windows",)

    def __init__(self, windows: Iterable[TimeWindow]) -> None:
        self._windows = tuple(_compile(window) for window in windows)

    def holds(self, now: float) -> bool:
        """``now`` in seconds since the epoch."""
        return any(window.holds(now) for window in self._windows)


def _compile(window: TimeWindow) -> _Window:
    days = frozenset(DAYS.index(day) for day in window.days or DAYS)
    spans = tuple(parse_hours(text) for text in window.hours) or (_WHOLE_DAY,)
    return _Window(days, spans, ZoneInfo(window.zone))
