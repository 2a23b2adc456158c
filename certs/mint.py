"""Where leaves are made: the only part that touches the keys of authorities once they are loaded."""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import InternalError
from appliance.domain.reason import Reason
from certs.authority import Authority
from certs.issued import Issued
from certs.leaf import DEFAULT_DAYS, LeafKey, sign_leaf
from certs.profile import LeafProfile
from certs.publication import Publication
from certs.scope import Scope
from certs.shared_keys import SharedKeys
from certs.spare_keys import SpareKeys
from certs.withdrawn import Withdrawn

SPARE_KEYS = 4
"""RSA keys that a process which signs has in stock: enough for 128 new hosts within the quarter of a second that they take."""


@dataclass(frozen=True, slots=True)
class Seat:
    """An authority at work. ``leaf_days``: how long its leaves live at most. ``publication``: where they can be revoked.
    ``ttl``: seconds that who signs for several remembers a leaf. ``withdrawn``: its leaves that were revoked.

    ``slow``: its key takes its time, in a token; it signs in a thread, while others are answered.
    """

    authority: Authority
    leaf_days: int = DEFAULT_DAYS
    publication: Publication | None = None
    ttl: float = 86_400.0
    slow: bool = False
    withdrawn: Withdrawn = field(default_factory=Withdrawn)


def random_serial() -> int:
    """127 random bits under a leading one: positive, 16 octets (RFC 5280 section 4.1.2.2 allows 20), never repeated."""
    return secrets.randbits(127) | 1 << 126


def new_ecdsa_key() -> LeafKey:
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key() -> LeafKey:
    return rsa.generate_private_key(65537, 2048)


class Mint:
    """Makes a key and has it signed, for each call anew: whoever asks twice remembers.

    An ECDSA leaf is made where it is asked for: key and signature take well under a millisecond. An RSA key takes
    some 50 ms, so it is made in ``executor`` (None: the loop's own); some leaves of a tenant share it, and ``spare``
    ones are made ahead once the first was asked for (``prepare``: before).
    """

    def __init__(
        self,
        seats: Iterable[Seat],
        clock: Clock | None = None,
        *,
        executor: Executor | None = None,
        spare: int = 0,
        serial: Callable[[], int] = random_serial,
    ) -> None:
        self._seats = {seat.authority.fingerprint: seat for seat in seats}
        self._clock = clock or SystemClock()
        self._executor = executor
        self._serial = serial
        self._rsa_turn = asyncio.Lock()
        self._rsa_keys = SharedKeys(self._clock)
        self._new_rsa_keys = SpareKeys(lambda: new_rsa_key(), executor, spare)

    def prepare(self) -> None:
        """Make the spare keys."""
        self._new_rsa_keys.prepare()

    async def leaf(self, scope: Scope, profile: LeafProfile) -> Issued:
        """A new leaf. Raises InternalError when there is no such authority here, or it has expired."""
        seat = self._seats.get(scope.authority)
        if seat is None:
            raise InternalError(Reason.INTERNAL_ERROR, f"no CA with the fingerprint {scope.authority[:16]} signs here")
        key = new_ecdsa_key() if profile.ecdsa else await self._rsa_key(scope, seat)
        certificate = await self._signed(seat, profile, key)
        _must_be_a_leaf(certificate)
        return Issued(certificate, key, self._clock.now())

    async def _signed(self, seat: Seat, profile: LeafProfile, key: LeafKey) -> x509.Certificate:
        if not seat.slow:
            return self._sign(seat, profile, key)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._sign, seat, profile, key)

    def _sign(self, seat: Seat, profile: LeafProfile, key: LeafKey) -> x509.Certificate:
        return sign_leaf(seat.authority, profile, key, self._clock, self._serial(), seat.leaf_days, seat.publication)

    async def _rsa_key(self, scope: Scope, seat: Seat) -> LeafKey:
        async with self._rsa_turn:
            seat.withdrawn.refresh()
            key = self._rsa_keys.take(scope, seat.withdrawn.mark)
            if key is None:
                key = await self._new_rsa_keys.take()
                self._rsa_keys.keep(scope, key, seat.withdrawn.mark)
            return key


def _must_be_a_leaf(certificate: x509.Certificate) -> None:
    """The last look before it leaves: nothing that could sign in the CA's name, whatever a profile may come to say."""
    extensions = certificate.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    if extensions.get_extension_for_class(x509.BasicConstraints).value.ca or usage.key_cert_sign or usage.crl_sign:
        raise InternalError(Reason.INTERNAL_ERROR, "a leaf would have had the rights of a CA")
