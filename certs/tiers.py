"""Leaves that several nodes share, and that outlive a restart: a second tier between a worker's memory and the signer.

What comes back from it is believed only when it was sealed by us for exactly this place, is a leaf of this very CA with the
names that were asked for, and is in its time. Everything else is counted and replaced. When the tier is away, nothing waits
for it and nothing fails: leaves are signed as if there were none.
"""

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from appliance.domain.clock import Clock, SystemClock
from certs.authority import PublicAuthority
from certs.issued import MAX_CERTIFICATE, MAX_KEY, Issued
from certs.leaf import alternative_names
from certs.profile import LeafProfile
from certs.scope import Scope
from certs.sealing import OVERHEAD, KeyRing
from certs.signer import Signer
from certs.withdrawn import Withdrawn

MAX_VALUE = MAX_CERTIFICATE + MAX_KEY + OVERHEAD + 64
LOCK = 1.0
"""Seconds for which a node may have a leaf signed while the others wait for it; a lock that is left behind ends by itself."""
WAIT = 0.4
"""Seconds for which the others wait: longer than an RSA key takes. Then they sign for themselves."""
LOOK = 0.015
"""Seconds between two looks."""


class Found(Enum):
    """What became of a question to the tier."""

    HIT = "hit"
    WAITED = "waited"
    """Another node was signing it, and this one took its leaf."""
    MISS = "miss"
    REJECTED = "rejected"
    """Something was there that we do not believe."""
    AWAY = "away"


class Away(Exception):
    """The tier does not answer now."""


class Store(Protocol):
    """Bounded in time: every call ends within a small deadline, or raises Away at once while the store is known to be away."""

    async def get(self, key: str, limit: int) -> bytes | None:
        """The value, its first ``limit`` octets at most. Raises Away."""

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Raises Away."""

    async def claim(self, key: str, seconds: float) -> bool:
        """Whether nobody else has claimed it; it is ours for so long. Raises Away."""

    async def release(self, key: str) -> None:
        """Raises Away."""


type Told = Callable[[Found], None]


class SharedLeaves:
    """A Signer in front of another one, for one authority.

    Tenant and fingerprint of the authority stand in every key, and what is sealed for one key cannot be opened under another:
    no tenant is given another's leaf, also where they share the authority. ``ttl``: how long a leaf is shared. ``variant``:
    whatever else a leaf depends on. ``withdrawn``: its leaves that were revoked; one that is found is replaced.
    """

    def __init__(
        self,
        signer: Signer,
        store: Store,
        ring: KeyRing,
        authority: PublicAuthority,
        ttl: float,
        clock: Clock | None = None,
        told: Told = lambda _: None,
        variant: bytes = b"",
        withdrawn: Withdrawn | None = None,
    ) -> None:
        self._signer = signer
        self._store = store
        self._ring = ring
        self._issuer = authority.certificate
        self._ttl = ttl
        self._clock = clock or SystemClock()
        self._told = told
        self._variant = variant
        self._withdrawn = withdrawn or Withdrawn()

    def place(self, scope: Scope, profile: LeafProfile) -> str:
        """The key of a profile's leaf. The host is in it for those only who have our keys."""
        return f"cert:cache:{scope}:{self._ring.name(self._variant + profile.to_bytes())}"

    async def leaf(self, scope: Scope, profile: LeafProfile) -> Issued:
        """As ``Signer`` says."""
        place = self.place(scope, profile)
        try:
            found, issued = await self._look(place, profile)
            if issued is None and not await self._store.claim(_lock(place), LOCK):
                issued = await self._wait(place, profile)
                found = Found.WAITED if issued else found
        except Away:
            self._told(Found.AWAY)
            return await self._signer.leaf(scope, profile)
        self._told(found)
        return issued or await self._sign(scope, profile, place)

    async def _sign(self, scope: Scope, profile: LeafProfile, place: str) -> Issued:
        """Sign and share. That it cannot be shared does not concern the one who asked."""
        try:
            issued = await self._signer.leaf(scope, profile)
        except BaseException:
            with contextlib.suppress(Away):
                await self._store.release(_lock(place))
            raise
        life = issued.until(self._ttl) - self._clock.now()
        if life >= 1:
            with contextlib.suppress(Away):
                await self._store.put(place, self._ring.seal(issued.to_bytes(), place.encode()), life)
        return issued

    async def _wait(self, place: str, profile: LeafProfile) -> Issued | None:
        ends = self._clock.monotonic() + WAIT
        while self._clock.monotonic() < ends:
            await asyncio.sleep(LOOK)
            _, issued = await self._look(place, profile)
            if issued is not None:
                return issued
        return None

    async def _look(self, place: str, profile: LeafProfile) -> tuple[Found, Issued | None]:
        sealed = await self._store.get(place, MAX_VALUE + 1)
        if sealed is None:
            return Found.MISS, None
        try:
            return Found.HIT, self._believed(sealed, place, profile)
        except ValueError:
            return Found.REJECTED, None

    def _believed(self, sealed: bytes, place: str, profile: LeafProfile) -> Issued:
        """Raises ValueError."""
        if len(sealed) > MAX_VALUE:
            raise ValueError("too long")
        issued = Issued.from_bytes(self._ring.open(sealed, place.encode()))
        names = issued.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if names != alternative_names(profile.names):
            raise ValueError("a leaf for other names")
        if not issued.servable(self._clock.now(), self._ttl):
            raise ValueError("a leaf whose time is over")
        if issued.certificate.serial_number in self._withdrawn:
            raise ValueError("a leaf that was revoked")
        try:
            issued.certificate.verify_directly_issued_by(self._issuer)
        except (InvalidSignature, TypeError) as error:
            raise ValueError("a leaf of another CA") from error
        return issued


def _lock(place: str) -> str:
    return place.replace("cert:cache:", "cert:lock:", 1)
