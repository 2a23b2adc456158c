"""RSA keys that several leaves of one CA have in common: making one takes as long as a hundred signatures.

Most servers have RSA keys, and a leaf follows them. Whoever gets one leaf's key out of a process has all of them, so a
few leaves with one key lose nothing that was apart before; leaves of different CAs never share one, nor do those of tenants
with CAs of their own.
"""

from dataclasses import dataclass

from appliance.domain.clock import Clock
from certs.leaf import LeafKey

LEAVES = 32
"""Leaves with one key."""
LIFE = 3600.0
"""Seconds that a key is given to new leaves."""


@dataclass(slots=True)
class _Kept:
    key: LeafKey
    mark: str
    made: float
    leaves: int = 1


class SharedKeys:
    """By fingerprint of the CA. ``mark``: another one after each of its revocations, for the key may be why."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    def take(self, authority: str, mark: str = "") -> LeafKey | None:
        """A key for one more leaf of this CA, or None when a new one has to be made."""
        kept = self._kept.get(authority)
        if kept is None or kept.mark != mark or kept.leaves >= LEAVES or self._clock.monotonic() - kept.made >= LIFE:
            return None
        kept.leaves += 1
        return kept.key

    def keep(self, authority: str, key: LeafKey, mark: str = "") -> None:
        """A new key, which one leaf has already."""
        self._kept[authority] = _Kept(key, mark, self._clock.monotonic())
