"""When a CA ends, and who has to be told. Pure.

A new CA has to reach every client before the old one ends, and that takes weeks: people are warned 60 days ahead,
and alarms sound for the last 30.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from cryptography import x509

DAY = 86_400
WARNING, ALARM = 60 * DAY, 30 * DAY
ADVICE = "make the next one with `arcus ca rotate`, and let clients install it before that day"


class Outlook(Enum):
    FINE = "fine"
    WARNING = "warning"
    ALARM = "alarm"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Expiry:
    """``end`` (seconds since the epoch): when the first certificate of the chain ends, and leaves are worth nothing."""

    end: float
    outlook: Outlook
    text: str
    """For a person; empty when all is fine."""


def expiry(chain: Sequence[x509.Certificate], now: float) -> Expiry:
    """``chain``: the CA's certificate, and those above it as far as they are known."""
    first = min(chain, key=lambda each: each.not_valid_after_utc)
    end = first.not_valid_after_utc.timestamp()
    outlook = _outlook(end - now)
    day = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d}"
    whose = "" if first is chain[0] else f" (the chain's {first.subject.rfc4514_string()})"
    if outlook is Outlook.FINE:
        return Expiry(end, outlook, "")
    return Expiry(end, outlook, f"{'expired' if outlook is Outlook.ENDED else 'expires'} on {day}{whose}: {ADVICE}")


def _outlook(left: float) -> Outlook:
    if left <= 0:
        return Outlook.ENDED
    if left <= ALARM:
        return Outlook.ALARM
    return Outlook.WARNING if left <= WARNING else Outlook.FINE
