"""How long each phase of a connect took."""

from collections.abc import Iterator
from contextlib import contextmanager

from appliance.domain.clock import Clock
from appliance.domain.notes import EscapeNotes


@contextmanager
def phase(notes: EscapeNotes, name: str, clock: Clock) -> Iterator[None]:
    """Adds the milliseconds of the block to ``notes.ms[name]``, also when it raises."""
    start = clock.monotonic()
    try:
        yield
    finally:
        notes.ms[name] = round(notes.ms.get(name, 0.0) + (clock.monotonic() - start) * 1000, 3)
