"""Answers that cost a fetch: remembered for a time, good or bad, and looked for once however many ask at the same time."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from appliance.domain.clock import Clock


@dataclass(frozen=True, slots=True)
class Kept[V]:
    """``value``, to be remembered for ``seconds``."""

    value: V
    seconds: float


class Memo[K: Hashable, V]:
    """Least recently used out first. ``counters``: ``hit``, ``joined`` and ``made``. Use from one event loop only."""

    def __init__(self, capacity: int, clock: Clock) -> None:
        self._capacity, self._clock = capacity, clock
        self._known: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._flights: dict[K, asyncio.Task[Kept[V]]] = {}
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    async def get(self, key: K, make: Callable[[], Awaitable[Kept[V]]]) -> V:
        """The value for ``key``, made now if it is not known. What ``make`` raises reaches everybody who waits."""
        known = self._known.get(key)
        if known is not None and self._clock.monotonic() < known[1]:
            self._known.move_to_end(key)
            self.counters["hit"] += 1
            return known[0]
        flight = self._flights.get(key)
        self.counters["made" if flight is None else "joined"] += 1
        # one caller that goes away must not take the answer from the others
        kept = await asyncio.shield(flight or self._start(key, make))
        return kept.value

    def _start(self, key: K, make: Callable[[], Awaitable[Kept[V]]]) -> "asyncio.Task[Kept[V]]":
        async def run() -> Kept[V]:
            return await make()

        flight = asyncio.get_running_loop().create_task(run())
        self._flights[key] = flight
        flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: K, flight: "asyncio.Task[Kept[V]]") -> None:
        del self._flights[key]
        if flight.cancelled() or flight.exception() is not None:
            return
        kept = flight.result()
        self._known[key] = (kept.value, self._clock.monotonic() + kept.seconds)
        self._known.move_to_end(key)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
