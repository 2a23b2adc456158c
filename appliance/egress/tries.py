"""In which order addresses are tried, from which local address, and for how long."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain, cycle, islice, zip_longest

from appliance.config.escaper import Strategy
from appliance.domain.clock import Clock
from appliance.domain.errors import UpstreamError
from appliance.domain.notes import EscapeNotes
from appliance.domain.reason import Reason


def family(ip: str) -> int:
    return 6 if ":" in ip else 4


def order(addresses: Iterable[str], strategy: Strategy) -> list[str]:
    """Families alternate, the preferred one first (RFC 8305 section 4), so that one try in two reaches the other family
    when the preferred one has no route. ``...Only`` drops the other."""
    families: dict[int, list[str]] = {4: [], 6: []}
    for address in addresses:
        families[family(address)].append(address)
    first, second = (4, 6) if strategy.startswith("IPv4") else (6, 4)
    if strategy.endswith("Only"):
        return families[first]
    pairs = zip_longest(families[first], families[second])
    return [address for address in chain.from_iterable(pairs) if address is not None]


class LocalAddresses:
    """``bind_ip``: which local address to connect from. Without any, the kernel's choice."""

    __slots__ = ("_by_family",)

    def __init__(self, bind_ip: Sequence[str]) -> None:
        self._by_family = {family(address): address for address in bind_ip}

    def reachable(self, addresses: Iterable[str]) -> list[str]:
        """Those that can be connected to from a bound address: an egress address that was asked for is a promise."""
        return [address for address in addresses if not self._by_family or family(address) in self._by_family]

    def source(self, address: str) -> str | None:
        return self._by_family.get(family(address))


class Deadline:
    """A moment, on a clock that never goes back."""

    __slots__ = ("_clock", "_end")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._end = clock, clock.monotonic() + seconds

    def left(self) -> float:
        """Seconds; 0 when the moment has passed."""
        return max(0.0, self._end - self._clock.monotonic())


async def try_each[T](
    addresses: Sequence[str],
    count: int,
    until: Deadline,
    notes: EscapeNotes,
    attempt: Callable[[str, float], Awaitable[T]],
) -> T:
    """``attempt(address, timeout)`` over the addresses, round and round, ``count`` times at most and not past ``until``.

    One after the other, each with its share of the time that is left: an address that does not answer cannot eat up the
    others' time. Only errors marked retryable lead to the next try; the last one is raised.
    """
    if not addresses:
        raise UpstreamError(Reason.CONNECT_FAILED, "no address of a usable family")
    last = UpstreamError(Reason.CONNECT_TIMEOUT, "no time was left for a try")
    for index, address in enumerate(islice(cycle(addresses), count)):
        left = until.left()
        if left <= 0:
            break
        notes.tries += 1
        notes.resolved_ip = address
        try:
            return await attempt(address, left / (count - index))
        except UpstreamError as error:
            last = error
            if not error.retryable:
                break
    raise last
