"""Results of password checks, remembered for a while. No password is kept, nor anything it can be computed from.

The key is an HMAC under a random key that lives and dies with the process: a memory dump without that key gives an
attacker nothing to guess against, and the same password in two groups has two unrelated keys.
"""

import hmac
import os
from collections import OrderedDict
from typing import Final

from appliance.domain.clock import Clock

CAPACITY: Final = 10_000
NEGATIVE_TTL: Final = 5.0
"""Seconds. Long enough that a client repeating a wrong password costs one check, short enough to correct a mistake."""


class VerdictCache:
    """Bounded, least recently used out first. Right and wrong results are kept apart, so that a flood of guesses
    cannot push out the users who are logged in."""

    def __init__(
        self, clock: Clock, capacity: int = CAPACITY, negative_ttl: float = NEGATIVE_TTL, key: bytes | None = None
    ) -> None:
        self._clock = clock
        self._capacity = capacity
        self._negative_ttl = negative_ttl
        self._key = key if key is not None else os.urandom(32)
        self._until: dict[bool, OrderedDict[bytes, float]] = {True: OrderedDict(), False: OrderedDict()}

    def __len__(self) -> int:
        return sum(map(len, self._until.values()))

    def key(self, *parts: str) -> bytes:
        """HMAC-SHA256 over the parts, each with its length before it: ("ab", "c") is not ("a", "bc")."""
        encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
        message = b"".join(len(part).to_bytes(4) + part for part in encoded)
        return hmac.digest(self._key, message, "sha256")

    def get(self, key: bytes) -> bool | None:
        """The remembered result; None when there is none, or no longer."""
        now = self._clock.monotonic()
        for result, table in self._until.items():
            until = table.get(key)
            if until is not None and now < until:
                table.move_to_end(key)
                return result
            table.pop(key, None)
        return None

    def put(self, key: bytes, result: bool, ttl: float) -> None:
        """Remember for ``ttl`` seconds; a wrong result for ``negative_ttl`` at most."""
        ttl = ttl if result else min(ttl, self._negative_ttl)
        if ttl <= 0:
            return
        table = self._until[result]
        table[key] = self._clock.monotonic() + ttl
        table.move_to_end(key)
        if len(table) > self._capacity:
            table.popitem(last=False)
