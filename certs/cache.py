"""Leaves in memory: bounded, with an end, and asked for once however many clients want them at the same time.

One cache belongs to one tenant under one authority, so no tenant is ever answered with another tenant's leaf, and a new
authority starts with an empty cache.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from cryptography import x509

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import InternalError
from appliance.domain.notes import CertNotes
from appliance.domain.reason import Reason
from certs import server_context
from certs.authority import Authority, PublicAuthority
from certs.describe import describe
from certs.fingerprint import certificate_sha256
from certs.issued import Issued
from certs.leaf import LeafKey
from certs.mint import Mint, Seat
from certs.profile import LeafProfile
from certs.room import Room
from certs.scope import Scope
from certs.server_context import LeafContext
from certs.signer import Signer
from certs.withdrawn import Withdrawn


@dataclass(frozen=True, slots=True)
class Leaf:
    """A signed leaf, ready to serve. Times are seconds since the epoch."""

    certificate: x509.Certificate
    key: LeafKey
    context: LeafContext
    serial: int
    not_before: float
    not_after: float
    described: CertNotes
    chain_sha256: tuple[str, ...]
    """Fingerprints of what is sent: the leaf, and the certificates above it."""
    ca_sha256: str

    def __repr__(self) -> str:
        return f"Leaf(serial={self.serial:x}, not_after={self.not_after:.0f})"


@dataclass(slots=True)
class Counters:
    """``hits`` + ``joined`` + ``misses`` are all calls; ``joined`` waited for a leaf that another call was making."""

    hits: int = 0
    misses: int = 0
    joined: int = 0
    signed: int = 0
    """Leaves signed for this cache; the rest of the misses were answered with a leaf that was made before, for another."""
    signed_rsa: int = 0
    """Those of ``signed`` with an RSA key."""
    evicted: int = 0
    expired: int = 0


@dataclass(slots=True)
class _Entry:
    leaf: Leaf
    until: float
    """On the monotonic clock."""


class LeafCache:
    """Leaves of one authority for one tenant, least recently used out first.

    ``capacity``: a number of leaves, or the room that the caches of an authority's tenants share. ``tenant``: empty where
    there is one only. ``signer`` makes what is not there; without one, the authority signs in this process, and must have its
    key. ``withdrawn``: leaves that were revoked, and are not served from then on. A leaf with its context takes 26 KB, so a
    full cache of 10,000 takes 260 MB in each process. Use from one event loop only.
    """

    def __init__(
        self,
        authority: PublicAuthority,
        capacity: int | Room,
        ttl: float,
        clock: Clock | None = None,
        *,
        tenant: str = "",
        signer: Signer | None = None,
        withdrawn: Withdrawn | None = None,
    ) -> None:
        if ttl <= 0:
            raise ValueError("ttl must be positive")
        self.authority = authority
        self.withdrawn = withdrawn or Withdrawn()
        self.counters = Counters()
        self._scope = Scope(tenant, authority.fingerprint)
        self._room = capacity if isinstance(capacity, Room) else Room(capacity)
        self._room.add(self)
        self._ttl = ttl
        self._clock = clock or SystemClock()
        self._signer = signer or _own_signer(authority, self._clock)
        self._entries: OrderedDict[LeafProfile, _Entry] = OrderedDict()
        self._pending: dict[LeafProfile, asyncio.Task[Leaf]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, profile: LeafProfile) -> Leaf | None:
        """The leaf if it is in the cache and may be served, without counting or signing."""
        entry = self._entries.get(profile)
        return entry.leaf if entry is not None and self._servable(entry) else None

    def ready(self, profile: LeafProfile) -> Leaf | None:
        """The leaf if it is in the cache and may be served, counted as ``get`` does: who finds it need not wait."""
        leaf = self._lookup(profile)
        self.counters.hits += leaf is not None
        return leaf

    async def get(self, profile: LeafProfile) -> Leaf:
        """The leaf for this profile, signed now if need be.

        Raises:
            InternalError: the authority has expired, or nobody signs (``signer_unavailable``).
        """
        leaf = self._lookup(profile)
        if leaf is not None:
            self.counters.hits += 1
            return leaf
        pending = self._pending.get(profile)
        if pending is not None:
            self.counters.joined += 1
        else:
            self.counters.misses += 1
            pending = self._pending[profile] = asyncio.get_running_loop().create_task(self._make(profile))
        # one caller that goes away must not take the leaf from the others
        return await asyncio.shield(pending)

    def clear(self) -> None:
        """Forget every leaf. Connections that use one keep it."""
        self._entries.clear()

    def evict(self) -> None:
        """Forget the leaf that was not asked for the longest."""
        self._entries.popitem(last=False)
        self.counters.evicted += 1

    def _lookup(self, profile: LeafProfile) -> Leaf | None:
        entry = self._entries.get(profile)
        if entry is None:
            return None
        if not self._servable(entry):
            del self._entries[profile]
            self.counters.expired += 1
            return None
        self._entries.move_to_end(profile)
        return entry.leaf

    def _servable(self, entry: _Entry) -> bool:
        leaf = entry.leaf
        if self._clock.monotonic() >= entry.until or leaf.serial in self.withdrawn:
            return False
        # the wall clock as well: it may have been set since, in either direction
        return leaf.not_before <= self._clock.now() < leaf.not_after

    async def _make(self, profile: LeafProfile) -> Leaf:
        try:
            issued = await self._sign(profile)
            leaf = self._ready(issued)
            self.counters.signed += issued.fresh
            self.counters.signed_rsa += issued.fresh and not profile.ecdsa
            self._store(profile, leaf, issued.until(self._ttl) - self._clock.now())
            return leaf
        finally:
            del self._pending[profile]

    async def _sign(self, profile: LeafProfile) -> Issued:
        for _ in range(2):  # one may have been revoked while it was on its way here; who signs knows it by now
            issued = await self._signer.leaf(self._scope, profile)
            if issued.certificate.serial_number not in self.withdrawn:
                return issued
        raise InternalError(Reason.INTERNAL_ERROR, f"CA {self.authority.name}: only a revoked leaf for {profile.names[0]}")

    def _ready(self, issued: Issued) -> Leaf:
        certificate, key = issued.certificate, issued.key
        context = server_context.build(certificate, key, self.authority.sent_chain)
        described = describe(certificate)
        chain = (described.sha256, *(certificate_sha256(each) for each in self.authority.sent_chain))
        serial = certificate.serial_number
        return Leaf(
            certificate, key, context, serial, issued.not_before, issued.not_after, described, chain, self._scope.authority
        )

    def _store(self, profile: LeafProfile, leaf: Leaf, life: float) -> None:
        self._entries[profile] = _Entry(leaf, self._clock.monotonic() + min(self._ttl, life))
        self._room.settle()


def _own_signer(authority: PublicAuthority, clock: Clock) -> Signer:
    if not isinstance(authority, Authority):
        raise ValueError(f"CA {authority.name}: without its key, a signer is needed")
    return Mint([Seat(authority)], clock)
