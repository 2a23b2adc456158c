"""How many leaves the caches of one CA hold together, one cache for each of its tenants."""

from typing import Protocol


class Holder(Protocol):
    def __len__(self) -> int:
        """How many it holds."""

    def evict(self) -> None:
        """Give up the one that was not asked for the longest. Only called while it holds one."""


class Room:
    """The one that holds the most gives way: a tenant with a flood of hosts pushes out its own leaves, not its neighbours'."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a room needs a capacity")
        self._capacity = capacity
        self._holders: list[Holder] = []

    def add(self, holder: Holder) -> None:
        self._holders.append(holder)

    def settle(self) -> None:
        """Make everything fit again. Asked after each insertion, which has cost a signature: a look at a thousand holders
        takes a tenth of that."""
        while sum(map(len, self._holders)) > self._capacity:
            max(self._holders, key=len).evict()
