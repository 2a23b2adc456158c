"""Events to rows. Whatever stands in an event, a row that SQLite takes comes out: one odd event must not stop the others."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection

_INT64 = 2**63 - 1

TEXTS = {
    "id": "id",
    "tenant_id": "tenant_id",
    "user_id": "user_id",
    "source_ip": "source_ip",
    "target_host": "destination_host",
    "method": "method",
    "url": "url",
    "user_agent": "user_agent",
    "block_reason": "reason",
    "conn_id": "conn_id",
    "action": "action",
    "rule": "rule",
    "signature": "signature",
}
INTEGERS = {
    "target_port": "destination_port",
    "response_code": "status",
    "bytes_sent": "bytes_sent",
    "bytes_received": "bytes_received",
}
FLOATS = {"duration_ms": "duration_ms", "created_at": "created_at"}
EVENT_TYPES = frozenset({"connection", "request", "response", "block", "allow", "error"})
COLUMNS = (*TEXTS, *INTEGERS, *FLOATS, "event_type", "blocked", "metadata")
STEPS: Final = (64, 8, 1)
"""Rows in one statement. Python's driver takes and gives its lock for each statement, which other threads wait for as well."""

type Row = tuple[Any, ...]

ledger_key = itemgetter(*map(COLUMNS.index, ("tenant_id", "target_host", "user_id", "created_at")))
"""Of a row: whose bytes these are, and when."""


def insert(connection: Connection, rows: Sequence[Row]) -> int:
    """Those whose id is not known yet; how many they are."""
    new = done = 0
    for step in STEPS:
        while len(rows) - done >= step:
            values = tuple(chain.from_iterable(rows[done : done + step]))
            new += connection.exec_driver_sql(_statement(step), values).rowcount
            done += step
    return new


@lru_cache
def _statement(rows: int) -> str:
    one = f"({', '.join('?' * len(COLUMNS))})"
    return f"INSERT OR IGNORE INTO audit_logs ({', '.join(COLUMNS)}) VALUES {', '.join([one] * rows)}"  # noqa: S608


def to_row(event: Mapping[str, Any], text: str) -> Row:
    """The values of ``COLUMNS``, in that order. ``text`` is the event as JSON, stored as it is."""
    event_type = event.get("event_type")
    return (
        *[_text(event.get(key)) for key in TEXTS.values()],
        *[_integer(event.get(key)) for key in INTEGERS.values()],
        *[_float(event.get(key)) for key in FLOATS.values()],
        event_type if isinstance(event_type, str) and event_type in EVENT_TYPES else "error",
        1 if event.get("blocked") is True else 0,
        text,
    )


def _text(value: object) -> str:
    """A lone surrogate is no UTF-8, and SQLite refuses it."""
    if isinstance(value, str) and value.isascii():
        return value
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _integer(value: object) -> int:
    return max(-_INT64, min(_INT64, value)) if isinstance(value, int) else 0


def _float(value: object) -> float:
    """Infinite, undefined and absurd values have no place in an order by time."""
    if not isinstance(value, int | float) or not -1e12 < value < 1e12:
        return 0.0
    return float(value)
