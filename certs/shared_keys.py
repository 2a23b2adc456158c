"""RSA keys that several leaves of one tenant have in common: making one takes as long as a hundred signatures.

Most servers have RSA keys, and a leaf follows them. Whoever gets one leaf's key out of a process has all of them, so a
few leaves with one key lose nothing that was apart before; leaves of different tenants or CAs never share one.
"""

from collections import OrderedDict
from dataclasses import dataclass

from appliance.domain.clock import Clock
from certs.leaf import LeafKey
from certs.scope import Scope

LEAVES = 32
"""Leaves with one key."""
LIFE = 3600.0
"""Seconds that a key is given to new leaves."""
MAX_KEYS = 1_000
"""Scopes with a key; a worker that was taken over could ask for tenants that there are not."""


@dataclass(slots=True)
class _Kept:
    key: LeafKey
    mark: str
    made: float
    leaves: int = 1


class SharedKeys:
    """By tenant and CA. ``mark``: another one after each of the CA's revocations, for the key may be why."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[Scope, _Kept] = OrderedDict()

    def take(self, scope: Scope, mark: str = "") -> LeafKey | None:
        """A key for one more leaf of this tenant, or None when a new one has to be made."""
        kept = self._kept.get(scope)
        if kept is None or kept.mark != mark or kept.leaves >= LEAVES or self._clock.monotonic() - kept.made >= LIFE:
            return None
        kept.leaves += 1
        return kept.key

    def keep(self, scope: Scope, key: LeafKey, mark: str = "") -> None:
        """A new key, which one leaf has already."""
        self._kept[scope] = _Kept(key, mark, self._clock.monotonic())
        self._kept.move_to_end(scope)
        while len(self._kept) > MAX_KEYS:
            self._kept.popitem(last=False)
