"""Kept verdicts in memory: bounded for each scope, least recently used out first."""

from collections import OrderedDict

from icap.client.kept import Kept, Key


class VerdictMemory:
    """``capacity``: verdicts of one scope, so that no tenant can push another's out. A verdict takes about 1.5 KB."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("capacity must be positive")
        self._capacity = capacity
        self._scopes: dict[str, OrderedDict[Key, Kept]] = {}
        self.evicted = 0

    def __len__(self) -> int:
        return sum(map(len, self._scopes.values()))

    def get(self, scope: str, key: Key) -> Kept | None:
        entries = self._scopes.get(scope)
        kept = entries.get(key) if entries is not None else None
        if entries is not None and kept is not None:
            entries.move_to_end(key)
        return kept

    def put(self, scope: str, key: Key, kept: Kept) -> None:
        entries = self._scopes.setdefault(scope, OrderedDict())
        entries[key] = kept
        entries.move_to_end(key)
        while len(entries) > self._capacity:
            entries.popitem(last=False)
            self.evicted += 1

    def drop(self, scope: str, key: Key) -> None:
        """Nothing when it is not there."""
        self._scopes.get(scope, OrderedDict()).pop(key, None)
