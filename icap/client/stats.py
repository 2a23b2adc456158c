"""What a service has done so far."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """A change worth a log line. Kinds: ``up``, ``suspended``, ``options``, ``istag``, ``check``."""

    service: str
    kind: str
    detail: str = ""


type EventSink = Callable[[ServiceEvent], None]


@dataclass(slots=True)
class ServiceStats:
    """Counters since the start, and the present use of connections."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """By ``Outcome.value``."""
    errors: Counter[str] = field(default_factory=Counter)
    """By reason word."""
    transactions: int = 0
    connects: int = 0
    reuses: int = 0
    retries: int = 0
    options_fetched: int = 0
    suspensions: int = 0
    busy: int = 0
    idle: int = 0
    waiting: int = 0
    suspended: bool = False
    istag: str = ""
