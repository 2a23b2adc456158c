"""Moments as people write them: ``now-24h``, ``2026-01-31``, ``2026-01-31T12:00:00Z``, or seconds since the epoch."""

import math
import re
from datetime import UTC, datetime

_RELATIVE = re.compile(r"now(?:-(\d{1,9})([smhdw]))?\Z", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_time(text: str, now: float) -> float | None:
    """Seconds since the epoch; UTC where no zone is written. None for a text that is no moment."""
    relative = _RELATIVE.match(text.lower())
    if relative:
        return now - int(relative[1]) * _SECONDS[relative[2]] if relative[1] else now
    try:
        seconds = float(text)
    except ValueError:
        return _calendar(text)
    return seconds if math.isfinite(seconds) else None


def _calendar(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
