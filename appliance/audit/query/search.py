"""AuditQuery over a store."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from appliance.audit.errors import QueryError
from appliance.audit.fields import find_field
from appliance.audit.query.compile import Condition, Parameter, compile_filter
from appliance.audit.query.filter import MAX_LIMIT, Counts, EventFilter, Histogram, Page
from appliance.domain.clock import Clock, SystemClock

_CURSOR = re.compile(r"(-?\d{1,15}(?:\.\d{1,9})?)_(\d{1,18})\Z", re.ASCII)
_TAIL = re.compile(r"\d{1,18}\Z", re.ASCII)
type Parameters = Mapping[str, Parameter]

_NEWEST = "created_at DESC, seq DESC"
MAX_INTERVALS = 2000


class EventReader(Protocol):
    """What the search asks of a store. SQL text comes from the compiler, values come as parameters."""

    def select(self, where: str, parameters: Parameters, order: str, limit: int) -> list[tuple[int, float, dict[str, Any]]]: ...

    def aggregate(self, expression: str, where: str, parameters: Parameters, limit: int) -> list[tuple[Any, int]]: ...

    def last_seq(self) -> int: ...


class AuditSearch:
    """Implements AuditQuery. Errors of the store pass through unchanged."""

    def __init__(self, store: EventReader, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()

    def list(self, wanted: EventFilter) -> Page:
        condition = self._compiled(wanted)
        limit = _limit(wanted.limit)
        if wanted.cursor:
            created, seq = _cursor(wanted.cursor)
            condition.sql = f"({condition.sql}) AND (created_at, seq) < (:cursor_time, :cursor_seq)"
            condition.parameters |= {"cursor_time": created, "cursor_seq": seq}
        rows = self._store.select(condition.sql, condition.parameters, _NEWEST, limit + 1)
        more = f"{rows[limit - 1][1]:.9f}_{rows[limit - 1][0]}" if len(rows) > limit else ""
        return Page([event for _, _, event in rows[:limit]], more)

    def get(self, event_id: str, tenant: str | None = None) -> dict[str, Any] | None:
        condition = self._compiled(EventFilter(tenant=tenant))
        condition.parameters["event_id"] = event_id.encode("utf-8", "replace").decode()
        rows = self._store.select(f"({condition.sql}) AND id = :event_id", condition.parameters, _NEWEST, 1)
        return rows[0][2] if rows else None

    def tail(self, after: str = "", wanted: EventFilter = EventFilter()) -> Page:  # noqa: B008 - frozen
        if not after:
            return Page([], str(self._store.last_seq()))
        if not _TAIL.match(after):
            raise QueryError("this is no cursor of a tail")
        condition = self._compiled(wanted)
        newest = self._store.last_seq()
        condition.parameters |= {"after_seq": int(after), "newest_seq": newest}
        sql = f"({condition.sql}) AND seq > :after_seq AND seq <= :newest_seq"
        limit = _limit(wanted.limit)
        rows = self._store.select(sql, condition.parameters, "seq", limit)
        # a short page has seen everything up to the newest: the next one need not look there again
        reached = rows[-1][0] if len(rows) == limit else max(newest, int(after))
        return Page([event for _, _, event in rows], str(reached))

    def top(self, name: str, wanted: EventFilter, limit: int = 10) -> Counts:
        field = find_field(name)
        if field is None or not field.column:
            raise QueryError(f"events cannot be counted by {name!r}")
        condition = self._compiled(wanted)
        found = self._store.aggregate(field.column, condition.sql, condition.parameters, _limit(limit))
        return [(str(value), number) for value, number in found]

    def histogram(self, wanted: EventFilter, seconds: int) -> Histogram:
        if seconds < 1:
            raise QueryError("an interval has at least one second")
        condition = self._compiled(wanted)
        condition.parameters["interval"] = seconds
        expression = "CAST(created_at / :interval AS INTEGER) * :interval"
        found = self._store.aggregate(expression, condition.sql, condition.parameters, MAX_INTERVALS)
        return sorted((int(start), number) for start, number in found)

    def _compiled(self, wanted: EventFilter) -> Condition:
        return compile_filter(wanted, self._clock.now())


def _limit(limit: int) -> int:
    return max(1, min(MAX_LIMIT, limit))


def _cursor(text: str) -> tuple[float, int]:
    match = _CURSOR.match(text)
    if not match:
        raise QueryError("this is no cursor")
    return float(match[1]), int(match[2])
