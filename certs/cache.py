"""Leaves in memory: bounded, with an end, and signed once however many clients ask at the same time.

One cache belongs to one authority, so no tenant is ever answered with another tenant's leaf, and a new authority
starts with an empty cache. Private keys stay in this process: they are not written or shared.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from appliance.domain.clock import Clock, SystemClock
from certs import server_context
from certs.authority import Authority
from certs.leaf import DEFAULT_DAYS, LeafKey, sign_leaf
from certs.profile import LeafProfile


@dataclass(frozen=True, slots=True)
class Leaf:
    """A signed leaf, ready to serve. Times are seconds since the epoch."""

    certificate: x509.Certificate
    key: LeafKey
    context: SSL.Context
    serial: int
    not_before: float
    not_after: float

    def __repr__(self) -> str:
        return f"Leaf(serial={self.serial:x}, not_after={self.not_after:.0f})"


@dataclass(slots=True)
class Counters:
    """``hits`` + ``joined`` + ``misses`` are all calls; ``joined`` waited for a leaf that another call was making."""

    hits: int = 0
    misses: int = 0
    joined: int = 0
    signed: int = 0
    signed_rsa: int = 0
    """Those of ``signed`` with an RSA key."""
    evicted: int = 0
    expired: int = 0


@dataclass(slots=True)
class _Entry:
    leaf: Leaf
    until: float
    """On the monotonic clock."""


def random_serial() -> int:
    """127 random bits under a leading one: positive, 16 octets (RFC 5280 section 4.1.2.2 allows 20), never repeated."""
    return secrets.randbits(127) | 1 << 126


def new_ecdsa_key() -> LeafKey:
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key() -> LeafKey:
    return rsa.generate_private_key(65537, 2048)


class LeafCache:
    """Leaves of one authority, least recently used out first.

    An ECDSA leaf is made where it is asked for: key and signature take well under a millisecond. An RSA key takes
    some 50 ms, so it is made in ``executor`` (None: the loop's own), where OpenSSL lets the interpreter go on; one
    at a time, or clients that ask for RSA with ever new names would take every core. A leaf with its context takes
    26 KB, so a full cache of 10,000 takes 260 MB in each process. Use from one event loop only.
    """

    def __init__(
        self,
        authority: Authority,
        capacity: int,
        ttl: float,
        clock: Clock | None = None,
        *,
        leaf_days: int = DEFAULT_DAYS,
        executor: Executor | None = None,
        serial: Callable[[], int] = random_serial,
    ) -> None:
        if capacity < 1 or ttl <= 0:
            raise ValueError("capacity and ttl must be positive")
        self.authority = authority
        self.counters = Counters()
        self._capacity = capacity
        self._ttl = ttl
        self._clock = clock or SystemClock()
        self._days = leaf_days
        self._executor = executor
        self._serial = serial
        self._entries: OrderedDict[LeafProfile, _Entry] = OrderedDict()
        self._pending: dict[LeafProfile, asyncio.Task[Leaf]] = {}
        self._rsa_turn = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, profile: LeafProfile) -> Leaf | None:
        """The leaf if it is in the cache and may be served, without counting or signing."""
        entry = self._entries.get(profile)
        return entry.leaf if entry is not None and self._servable(entry) else None

    async def get(self, profile: LeafProfile) -> Leaf:
        """The leaf for this profile, signed now if need be.

        Raises:
            InternalError: the authority has expired.
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
            if profile.ecdsa:
                # no await until it is stored: nobody else can ask in between
                return self._sign(profile, new_ecdsa_key())
            pending = self._start(profile)
        # one caller that goes away must not take the leaf from the others
        return await asyncio.shield(pending)

    def clear(self) -> None:
        """Forget every leaf. Connections that use one keep it."""
        self._entries.clear()

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
        # the wall clock as well: it may have been set since, in either direction
        return self._clock.monotonic() < entry.until and entry.leaf.not_before <= self._clock.now() < entry.leaf.not_after

    def _start(self, profile: LeafProfile) -> asyncio.Task[Leaf]:
        task = asyncio.get_running_loop().create_task(self._make_rsa(profile))
        self._pending[profile] = task
        return task

    async def _make_rsa(self, profile: LeafProfile) -> Leaf:
        try:
            async with self._rsa_turn:
                key = await asyncio.get_running_loop().run_in_executor(self._executor, new_rsa_key)
            return self._sign(profile, key)
        finally:
            del self._pending[profile]

    def _sign(self, profile: LeafProfile, key: LeafKey) -> Leaf:
        certificate = sign_leaf(self.authority, profile, key, self._clock, self._serial(), self._days)
        context = server_context.build(certificate, key, self.authority.sent_chain)
        start, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        leaf = Leaf(certificate, key, context, certificate.serial_number, start, end)
        self.counters.signed += 1
        self.counters.signed_rsa += not profile.ecdsa
        self._store(profile, leaf)
        return leaf

    def _store(self, profile: LeafProfile, leaf: Leaf) -> None:
        # half of what is left: a leaf must not end under a client that was just given it
        life = (leaf.not_after - self._clock.now()) / 2
        self._entries[profile] = _Entry(leaf, self._clock.monotonic() + min(self._ttl, life))
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
            self.counters.evicted += 1
