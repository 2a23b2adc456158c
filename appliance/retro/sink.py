"""The audit stream's way into the ledger: one more sink of the drain."""

import json
from collections.abc import Callable, Iterable, Sequence

from appliance.audit.sinks.base import State, Written
from appliance.retro.observe import Event

_SIGN = b'"scans":['


class RetroSink:
    """Idempotent: a delivery is known by its task."""

    name = "retro"

    def __init__(self, observe: Callable[[Iterable[Event]], None]) -> None:
        self._observe = observe

    def open(self, state: State) -> State:
        return state

    def write(self, lines: Sequence[bytes]) -> Written:
        self._observe([event for line in lines if _SIGN in line and (event := _event(line)) is not None])
        return Written()

    def close(self) -> None:
        """The ledger belongs to who made it."""


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None  # counted where events are stored
    return event if isinstance(event, dict) else None
