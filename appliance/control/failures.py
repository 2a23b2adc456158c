"""How often each client address may guess: a sliding window of failures."""

import ipaddress
from collections import OrderedDict, deque

from appliance.domain.clock import Clock
from appliance.domain.target import parse_ip

LIMIT = 10
WINDOW = 60.0
CAPACITY = 4096


class FailureLimit:
    """At most ``limit`` failures of one address in ``window`` seconds. Bounded: the address quiet for longest is forgotten."""

    def __init__(self, clock: Clock, limit: int = LIMIT, window: float = WINDOW, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._limit = limit
        self._window = window
        self._capacity = capacity
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def failed(self, address: str) -> None:
        """Count a failure."""
        key = network_of(address)
        times = self._failures.setdefault(key, deque(maxlen=self._limit))
        times.append(self._clock.monotonic())
        self._failures.move_to_end(key)
        if len(self._failures) > self._capacity:
            self._failures.popitem(last=False)

    def forgive(self, address: str) -> None:
        """Take the last failure back."""
        times = self._failures.get(network_of(address))
        if times:
            times.pop()

    def wait(self, address: str) -> float:
        """Seconds until the address may try again; 0 when it may now."""
        times = self._failures.get(network_of(address))
        if times is None or len(times) < self._limit:
            return 0.0
        return max(0.0, times[0] + self._window - self._clock.monotonic())


def network_of(address: str) -> str:
    """Whose guesses count together: one IPv4 address, or one IPv6 /64, which is what a single customer gets."""
    parsed = parse_ip(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed or address)
