"""Answers that cost a fetch: remembered for a time, good or bad, and looked for once however many ask at the same time."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any

from appliance.domain.clock import Clock


@dataclass(frozen=True, slots=True)
class Kept[V]:
    """``value``, to be remembered for ``seconds``; with none, it is for those who wait and then forgotten."""

    value: V
    seconds: float


class Memo[K: Hashable, V]:
    """Least recently used out first. Use from one event loop only.

    ``counters``: ``hit``, ``joined`` (waited for what another had asked for) and ``looked``.
    """

    def __init__(self, capacity: int, clock: Clock) -> None:
        self._capacity, self._clock = capacity, clock
        self._known: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._flights: dict[K, asyncio.Task[Kept[V]]] = {}
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    async def get(self, key: K, make: Callable[[], Coroutine[Any, Any, Kept[V]]]) -> V:
        """The value for ``key``, looked for now if it is not known. What ``make`` raises reaches everybody who waits.

        ``make`` is called before this waits for anything: what it is to keep of the caller, it can take there.
        """
        known = self._known.get(key)
        if known is not None and self._clock.monotonic() < known[1]:
            self._known.move_to_end(key)
            self.counters["hit"] += 1
            return known[0]
        flight = self._flights.get(key)
        self.counters["looked" if flight is None else "joined"] += 1
        # one caller that goes away must not take the answer from the others
        kept = await asyncio.shield(flight or self._start(key, make))
        return kept.value

    def close(self) -> None:
        """End everything that is being looked for."""
        for flight in self._flights.values():
            flight.cancel()

    def _start(self, key: K, make: Callable[[], Coroutine[Any, Any, Kept[V]]]) -> "asyncio.Task[Kept[V]]":
        flight = asyncio.get_running_loop().create_task(make())
        self._flights[key] = flight
        flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: K, flight: "asyncio.Task[Kept[V]]") -> None:
        del self._flights[key]
        if flight.cancelled() or flight.exception() is not None:
            return
        kept = flight.result()
        if kept.seconds <= 0:
            return
        self._known[key] = (kept.value, self._clock.monotonic() + kept.seconds)
        self._known.move_to_end(key)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
