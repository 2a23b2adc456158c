"""The ledger of what was inspected: audit events folded into hours, in the event store's file.

Events are folded in the transaction that stores them, and only when they are new, so a crash neither loses nor doubles.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Final, Protocol

from sqlalchemy import Connection, text

from appliance.domain.coverage import NOT_INSPECTED
from appliance.domain.coverage_report import By, Line, Part, Report, line, lines

HOUR: Final = 3600
MAX_LINES: Final = 1000
_MOST: Final = 1 << 50
"""A task has fewer bytes: what claims more is no count, and its sum could overflow."""

_ADD: Final = (
    "INSERT INTO coverage (hour, tenant_id, host, user_id, direction, bucket, why, bytes, tasks) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, tasks = tasks + excluded.tasks"
)
_COLUMNS: Final[dict[By, str]] = {"host": "host", "user": "user_id", "tenant": "tenant_id"}
_WHERE: Final = "hour >= :since AND hour < :until AND (:everyone OR tenant_id = :tenant)"
_PASSED: Final = ", ".join(f"'{each.word}'" for each in sorted(NOT_INSPECTED, key=lambda each: each.word))
_UNSEEN: Final = f"sum(CASE WHEN bucket IN ({_PASSED}) THEN bytes ELSE 0 END)"
_SCANNED: Final = "sum(CASE WHEN bucket = 'scanned' THEN bytes ELSE 0 END)"
_ORDERS: Final = {
    "not_inspected": f"{_UNSEEN} DESC, sum(bytes) DESC",
    "bytes": "sum(bytes) DESC",
    "share": f"coalesce(1.0 * {_SCANNED} / nullif({_SCANNED} + {_UNSEEN}, 0), 1.0), {_UNSEEN} DESC",
}


class Store(Protocol):
    """The part of the event store that the ledger needs."""

    @property
    def writing(self) -> Callable[[], AbstractContextManager[Connection]]: ...

    @property
    def reading(self) -> Callable[[], AbstractContextManager[Connection]]: ...


type _Cell = tuple[int, str, str, str, str, str, str]


class Tally:
    """Sums of a batch, before they go into the ledger. A key of an event's coverage is ``DIRECTION: BUCKET WHY``."""

    def __init__(self) -> None:
        self._sums: dict[_Cell, list[int]] = {}

    def add(self, whose: tuple[Any, ...], sizes: object) -> None:
        """One event: its tenant, host, user and ``created_at``. What is no count is passed over: one odd event must not
        stop the others."""
        if not isinstance(sizes, dict):
            return
        tenant, host, user, created_at = whose
        hour = int(created_at / HOUR) * HOUR
        for name, size in sizes.items():
            if type(size) is int and 0 < size < _MOST and (place := _place(name)) is not None:
                found = self._sums.setdefault((hour, tenant, host, user, *place), [0, 0])
                found[0] += size
                found[1] += 1

    def fold(self, connection: Connection) -> None:
        """Add the sums to their hours."""
        if self._sums:
            connection.exec_driver_sql(_ADD, [(*cell, *sums) for cell, sums in self._sums.items()])


@lru_cache(maxsize=1024)
def _place(name: str) -> tuple[str, str, str] | None:
    """Direction, bucket and why; as text that SQLite takes."""
    direction, found, rest = name.encode("utf-8", "replace").decode().partition(": ")
    bucket, _, why = rest.partition(" ")
    return (direction, bucket, why.strip(" ")) if direction and found else None


class CoverageLedger:
    """Reads and prunes. All of it may block, and raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def report(
        self,
        since: float,
        until: float,
        by: By = "host",
        *,
        tenant: str | None = None,
        order: str = "not_inspected",
        limit: int = 100,
    ) -> Report:
        """The hours that touch ``since`` to ``until`` (seconds since the epoch). ``tenant`` None: of all of them.

        ``by`` ``bucket`` has one line, which is the whole. ``order`` is one of ``coverage_report.ORDERS``.
        """
        first, last = int(since // HOUR) * HOUR, -int(-until // HOUR) * HOUR
        asked = {"since": first, "until": last, "everyone": tenant is None, "tenant": tenant or ""}
        with self._store.reading() as connection:
            whole = _whole(connection, asked)
            found = () if by == "bucket" else _lines(connection, asked, by, order, max(1, min(limit, MAX_LINES)))
        return Report(first, last, whole, found)

    def delete_before(self, moment: float) -> None:
        """Forget hours that ended before ``moment``, one in each transaction, so that events can be stored between."""
        limit = int(moment // HOUR) * HOUR
        while True:
            with self._store.writing() as connection:
                oldest = connection.execute(text("SELECT min(hour) FROM coverage")).scalar_one()
                if oldest is None or oldest >= limit:
                    return
                connection.execute(text("DELETE FROM coverage WHERE hour = :hour"), {"hour": oldest})


def _whole(connection: Connection, asked: dict[str, object]) -> Line:
    sql = text(
        f"SELECT direction, bucket, why, sum(bytes), sum(tasks) FROM coverage WHERE {_WHERE} "  # noqa: S608
        "GROUP BY direction, bucket, why"
    )
    return line("", [Part(*row) for row in connection.execute(sql, asked)])


def _lines(connection: Connection, asked: dict[str, object], by: By, order: str, limit: int) -> tuple[Line, ...]:
    column = _COLUMNS[by]
    shown = f"SELECT {column} FROM coverage WHERE {_WHERE} GROUP BY {column} ORDER BY {_ORDERS[order]}, {column} LIMIT :most"  # noqa: S608
    sql = text(
        f"SELECT {column}, direction, bucket, why, sum(bytes), sum(tasks) FROM coverage WHERE {_WHERE} "  # noqa: S608
        f"AND {column} IN ({shown}) GROUP BY {column}, direction, bucket, why"
    )
    parts: dict[str, list[Part]] = {}
    for name, *rest in connection.execute(sql, {**asked, "most": limit}):
        parts.setdefault(name, []).append(Part(*rest))
    return lines(parts, order)
