"""What is asked for, and what comes back."""

from dataclasses import dataclass, field
from typing import Any, Protocol

type Counts = list[tuple[str, int]]
type Histogram = list[tuple[int, int]]

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class EventFilter:
    """All conditions given must hold. ``tenant``: the scope of who asks; None sees all tenants.

    Text values may hold ``*``. ``since`` (inclusive) and ``until`` (exclusive) are seconds since the epoch.
    ``query`` is one line of the query language. ``cursor`` is the ``next`` of the page before.
    """

    tenant: str | None = None
    user: str = ""
    client_ip: str = ""
    host: str = ""
    event_type: str = ""
    action: str = ""
    reason: str = ""
    method: str = ""
    status: int | None = None
    blocked: bool | None = None
    signature: str = ""
    since: float | None = None
    until: float | None = None
    text: str = ""
    query: str = ""
    limit: int = DEFAULT_LIMIT
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Events, and the cursor of what follows; empty when nothing does (a tail always has one)."""

    events: list[dict[str, Any]] = field(default_factory=list)
    next: str = ""


class AuditQuery(Protocol):
    """How pages and REST ask. Every method raises QueryError for a question that cannot be answered."""

    def list(self, wanted: EventFilter) -> Page:
        """Newest first."""

    def get(self, event_id: str, tenant: str | None = None) -> dict[str, Any] | None:
        """One event; None also when it is another tenant's."""

    def tail(self, after: str = "", wanted: EventFilter = EventFilter()) -> Page:
        """Events stored after the cursor, oldest first. An empty cursor starts at now."""

    def top(self, name: str, wanted: EventFilter, limit: int = 10) -> Counts:
        """The most frequent values of a field that has a column, and how many events have each."""

    def histogram(self, wanted: EventFilter, seconds: int) -> Histogram:
        """Events by time: the start of each interval of ``seconds``, oldest first, and how many fall into it."""
