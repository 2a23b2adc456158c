"""Suspension of a service that keeps failing."""

from collections import deque

from appliance.domain.clock import Clock


class Breaker:
    """Counts failures in a window; at the limit the service is suspended, and after a delay one trial may end that."""

    def __init__(self, limit: int, window: float, delay: float, clock: Clock) -> None:
        self._failures: deque[float] = deque(maxlen=limit)
        self._limit = limit
        self._window = window
        self._delay = delay
        self._clock = clock
        self._until: float | None = None

    @property
    def suspended(self) -> bool:
        """No message may be sent now."""
        return self._until is not None and self._clock.monotonic() < self._until

    @property
    def on_trial(self) -> bool:
        """The suspension's time is over: the options decide whether the service is up."""
        return self._until is not None and self._clock.monotonic() >= self._until

    def fail(self) -> bool:
        """Note a failure; True when it begins a suspension. A failure on trial suspends again."""
        now = self._clock.monotonic()
        self._failures.append(now)
        full = len(self._failures) == self._limit and now - self._failures[0] <= self._window
        if self.suspended or not (full or self._until is not None):
            return False
        self._until = now + self._delay
        return True

    def recover(self) -> bool:
        """The service is up: failures are forgotten. True when that ends a suspension."""
        was_suspended = self._until is not None
        self._until = None
        self._failures.clear()
        return was_suspended
