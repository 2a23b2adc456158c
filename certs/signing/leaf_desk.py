"""Questions for leaves, answered in the signer: strictly read, signed once, and remembered for the other workers.

The key of a leaf is made here, not by the worker that asks: only so can two workers that want the same host at the same
moment be given one leaf, and a worker that starts anew go on with the leaves of its predecessor.
"""

import asyncio
import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.domain.clock import Clock, SystemClock
from certs.fingerprint import certificate_sha256
from certs.issued import Issued
from certs.profile import LeafProfile
from certs.scope import Scope, read_scope
from certs.signer import Signer
from certs.signing.wire import MAX_BODY
from certs.withdrawn import Withdrawn

MAX_LEAVES = 10_000
MAX_BYTES = 32 * 1024 * 1024
"""Usual leaves take 1 KB here; only names without end make them larger."""

MAX_FOUND = 100

type Told = Callable[[str], None]
"""Called with ``made``, ``joined`` or ``remembered``."""


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: bytes
    authority: str
    serial: int
    names: tuple[str, ...]
    fingerprint: str
    issued_until: float
    """Wall clock, seconds since the epoch."""
    stays_until: float
    """On the monotonic clock: it holds when the other one is set."""


def leaf_question(scope: Scope, profile: LeafProfile) -> bytes:
    """The body of a question."""
    return scope.to_bytes() + profile.to_bytes()


def read_leaf(body: bytes) -> Issued:
    """The leaf in an answer. Raises ValueError."""
    return Issued.from_bytes(body[1:], fresh=body[:1] == b"\1")


def found_answer(certificates: list[x509.Certificate]) -> bytes:
    """As many as a message holds."""
    answer = b""
    for certificate in certificates:
        data = certificate.public_bytes(Encoding.DER)
        if len(answer) + 4 + len(data) > MAX_BODY:
            break
        answer += len(data).to_bytes(4) + data
    return answer


def read_found(body: bytes) -> list[x509.Certificate]:
    """What ``found_answer`` made. Raises ValueError."""
    certificates = []
    while body:
        length = int.from_bytes(body[:4])
        certificates.append(x509.load_der_x509_certificate(body[4 : 4 + length]))
        body = body[4 + length :]
    return certificates


def _wanted(text: str) -> "Callable[[_Kept], bool]":
    word, _, value = text.partition(":")
    if not text:
        return lambda _: True
    if word == "host":
        wildcard = f"*.{value.partition('.')[2]}"
        return lambda kept: value in kept.names or wildcard in kept.names
    if word == "sha256":
        return lambda kept: kept.fingerprint == value.lower()
    raise ValueError("neither a host nor a fingerprint")


class LeafDesk:
    """``ttl``: for each authority, by fingerprint, how many seconds a leaf is handed out again.
    ``withdrawn``: in the same way, its leaves that were revoked. They are not handed out."""

    def __init__(
        self,
        mint: Signer,
        ttl: Mapping[str, float],
        clock: Clock | None = None,
        told: Told = lambda _: None,
        *,
        max_leaves: int = MAX_LEAVES,
        max_bytes: int = MAX_BYTES,
        withdrawn: Mapping[str, Withdrawn] | None = None,
    ) -> None:
        self._mint = mint
        self._ttl = ttl
        self._clock = clock or SystemClock()
        self._told = told
        self._max_leaves = max_leaves
        self._max_bytes = max_bytes
        self._withdrawn = withdrawn or {}
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._pending: dict[bytes, asyncio.Task[bytes]] = {}
        self.held = 0
        """Bytes of remembered answers."""

    def __len__(self) -> int:
        return len(self._kept)

    async def answer(self, body: bytes) -> bytes:
        """The answer to a question.

        Raises:
            ValueError: the question is malformed.
            InternalError: the authority cannot sign it.
        """
        key = hashlib.sha256(body).digest()
        if (found := self._find(key)) is not None:
            self._told("remembered")
            return b"\0" + found
        if (pending := self._pending.get(key)) is not None:
            self._told("joined")
            return b"\0" + await asyncio.shield(pending)
        scope, encoded = read_scope(body)
        profile = LeafProfile.from_bytes(encoded)
        pending = self._pending[key] = asyncio.get_running_loop().create_task(self._make(key, scope, profile))
        made = await asyncio.shield(pending)
        self._told("made")
        return b"\1" + made

    async def find(self, body: bytes) -> bytes:
        """The certificates that are remembered for a host or a fingerprint. Raises ValueError for another question."""
        wanted = _wanted(body.decode("utf-8"))
        found = (kept for kept in reversed(self._kept.values()) if wanted(kept))
        certificates = [Issued.from_bytes(kept.answer).certificate for kept in itertools.islice(found, MAX_FOUND)]
        return found_answer(certificates)

    async def _make(self, key: bytes, scope: Scope, profile: LeafProfile) -> bytes:
        try:
            issued = await self._mint.leaf(scope, profile)
            answer = issued.to_bytes()
            self._keep(key, answer, scope.authority, profile.names, issued)
            return answer
        finally:
            del self._pending[key]

    def _find(self, key: bytes) -> bytes | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        over = self._clock.now() >= kept.issued_until or self._clock.monotonic() >= kept.stays_until
        if over or self._revoked(kept):
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return kept.answer

    def _revoked(self, kept: _Kept) -> bool:
        withdrawn = self._withdrawn.get(kept.authority)
        if withdrawn is None:
            return False
        # looked at for each question: a worker that has read the list must not be given the same leaf again
        withdrawn.refresh()
        return kept.serial in withdrawn

    def _keep(self, key: bytes, answer: bytes, authority: str, names: tuple[str, ...], issued: Issued) -> None:
        until = issued.until(self._ttl.get(authority, 0.0))
        life = until - self._clock.now()
        if life <= 0:
            return
        fingerprint, serial = certificate_sha256(issued.certificate), issued.certificate.serial_number
        stays = self._clock.monotonic() + life
        self._kept[key] = _Kept(answer, authority, serial, names, fingerprint, until, stays)
        self.held += len(answer)
        while len(self._kept) > self._max_leaves or self.held > self._max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        self.held -= len(self._kept.pop(key).answer)
