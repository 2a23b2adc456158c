"""From audit events to the last minutes of coverage."""

from collections.abc import Callable, Mapping, Sequence

from appliance.audit.picked import parse
from appliance.audit.sinks.base import State, Written

type Take = Callable[[str, float, Mapping[str, object]], None]
"""A tenant, when it was (seconds since the epoch), and the bytes of one event's coverage."""


class CoverageAlarmSink:
    name = "coverage-alarm"

    def __init__(self, take: Take) -> None:
        self._take = take

    def open(self, state: State) -> State:
        """Nothing to go back to: the window is in memory, and what is offered twice after a crash was not in it."""
        return state

    def write(self, lines: Sequence[bytes]) -> Written:
        for line in lines:
            event = parse(line) if b'"coverage"' in line else None
            sizes = event.get("coverage") if event is not None else None
            if event is not None and isinstance(sizes, dict):
                self._take(str(event.get("tenant_id") or ""), float(event.get("created_at") or 0.0), sizes)
        return Written()

    def close(self) -> None:
        """Nothing is open."""
