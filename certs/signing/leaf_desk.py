"""Questions for leaves, answered in the signer: strictly read, signed once, and remembered for the other workers.

The key of a leaf is made here, not by the worker that asks: only so can two workers that want the same host at the same
moment be given one leaf, and a worker that starts anew go on with the leaves of its predecessor.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.domain.clock import Clock, SystemClock
from certs.issued import Issued
from certs.profile import LeafProfile
from certs.signer import Signer

FINGERPRINT = 32
MAX_LEAVES = 10_000
MAX_BYTES = 32 * 1024 * 1024
"""Usual leaves take 1 KB here; only names without end make them larger."""

type Told = Callable[[str], None]
"""Called with ``made``, ``joined`` or ``remembered``."""


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: bytes
    issued_until: float
    """Wall clock, seconds since the epoch."""
    stays_until: float
    """On the monotonic clock: it holds when the other one is set."""


def leaf_question(authority: str, profile: LeafProfile) -> bytes:
    """The body of a question. ``authority`` is a fingerprint in hex."""
    return bytes.fromhex(authority) + profile.to_bytes()


def read_leaf(body: bytes) -> Issued:
    """The leaf in an answer. Raises ValueError."""
    return Issued.from_bytes(body[1:], fresh=body[:1] == b"\1")


class LeafDesk:
    """``ttl``: for each authority, by fingerprint, how many seconds a leaf is handed out again."""

    def __init__(
        self,
        mint: Signer,
        ttl: Mapping[str, float],
        clock: Clock | None = None,
        told: Told = lambda _: None,
        *,
        max_leaves: int = MAX_LEAVES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._mint = mint
        self._ttl = ttl
        self._clock = clock or SystemClock()
        self._told = told
        self._max_leaves = max_leaves
        self._max_bytes = max_bytes
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
        authority, profile = body[:FINGERPRINT].hex(), LeafProfile.from_bytes(body[FINGERPRINT:])
        pending = self._pending[key] = asyncio.get_running_loop().create_task(self._make(key, authority, profile))
        made = await asyncio.shield(pending)
        self._told("made")
        return b"\1" + made

    async def _make(self, key: bytes, authority: str, profile: LeafProfile) -> bytes:
        try:
            issued = await self._mint.leaf(authority, profile)
            answer = issued.to_bytes()
            self._keep(key, answer, issued.until(self._ttl.get(authority, 0.0)))
            return answer
        finally:
            del self._pending[key]

    def _find(self, key: bytes) -> bytes | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock.now() >= kept.issued_until or self._clock.monotonic() >= kept.stays_until:
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return kept.answer

    def _keep(self, key: bytes, answer: bytes, until: float) -> None:
        life = until - self._clock.now()
        if life <= 0:
            return
        self._kept[key] = _Kept(answer, until, self._clock.monotonic() + life)
        self.held += len(answer)
        while len(self._kept) > self._max_leaves or self.held > self._max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        self.held -= len(self._kept.pop(key).answer)
