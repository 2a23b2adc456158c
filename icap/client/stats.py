"""What a service has done so far."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """A change worth a log line. Kinds: ``up``, ``suspended``, ``options``, ``istag``, ``check``, ``healthy``, ``down``."""

    service: str
    kind: str
    detail: str = ""


type EventSink = Callable[[ServiceEvent], None]


class Tell(Protocol):
    """Tells of a change, by its kind."""

    def __call__(self, kind: str, detail: str = "", /) -> None: ...


@dataclass(slots=True)
class ServiceStats:
    """Counters since the start, and the present use of connections."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """By ``Outcome.value``."""
    errors: Counter[str] = field(default_factory=Counter)
    """By reason word."""
    probes: Counter[str] = field(default_factory=Counter)
    """Checks, by ``ok`` or reason word."""
    transactions: int = 0
    connects: int = 0
    reuses: int = 0
    retries: int = 0
    options_fetched: int = 0
    suspensions: int = 0
    busy: int = 0
    idle: int = 0
    waiting: int = 0
    istag: str = ""
