"""The audit stream's way to the learner: one more sink of the drain."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from appliance.audit.picked import Picker
from appliance.audit.sinks.base import State, Written
from appliance.learning.observe import SEEN, Event

_PICKER: Final = Picker(SEEN)

_SIGNS = (b'"tls_failure":', b'"conn_requests":1,')
"""Only a connection's first request, or a failure of TLS, says anything; all other lines are not even parsed."""


class LearningSink:
    """Idempotent: an observation is known by its connection, or replaces itself."""

    name = "learning"

    def __init__(self, observe: Callable[[Iterable[Event]], None]) -> None:
        self._observe = observe

    def open(self, state: State) -> State:
        return state

    def write(self, lines: Sequence[bytes]) -> Written:
        told = (line for line in lines if any(sign in line for sign in _SIGNS))
        # what is no event is counted where events are stored; one at a time: all of a batch in memory would cost the collector
        self._observe(event for line in told if (event := _PICKER.pick(line)) is not None)
        return Written()

    def close(self) -> None:
        """The learner belongs to who made it."""
