"""The audit stream's way into the ledger: one more sink of the drain."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from appliance.audit.picked import Picker
from appliance.audit.sinks.base import State, Written
from appliance.retro.observe import SEEN, Event

_PICKER: Final = Picker(SEEN)

_SIGN = b'"scans":['


class RetroSink:
    """Idempotent: a delivery is known by its task."""

    name = "retro"

    def __init__(self, observe: Callable[[Iterable[Event]], None]) -> None:
        self._observe = observe

    def open(self, state: State) -> State:
        return state

    def write(self, lines: Sequence[bytes]) -> Written:
        # what is no event is counted where events are stored; one at a time: all of a batch in memory would cost the collector
        self._observe(event for line in lines if _SIGN in line and (event := _PICKER.pick(line)) is not None)
        return Written()

    def close(self) -> None:
        """The ledger belongs to who made it."""
