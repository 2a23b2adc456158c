"""The audit stream's way to the learner: one more sink of the drain."""

import json
from collections.abc import Callable, Iterable, Sequence

from appliance.audit.sinks.base import State, Written
from appliance.learning.observe import Event

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
        self._observe([event for line in lines if (event := _event(line)) is not None])
        return Written()

    def close(self) -> None:
        """The learner belongs to who made it."""


def _event(line: bytes) -> Event | None:
    if not any(sign in line for sign in _SIGNS):
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None  # counted where events are stored
    return event if isinstance(event, dict) else None
