"""A service in front of a service, that asks it once for each body: verdicts are kept, and shared while they are made."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256
from typing import Literal, Protocol

from appliance.domain.clock import Clock
from appliance.domain.verdict import Outcome
from icap.client.body import Body, length_of
from icap.client.kept import Kept, Key, coding_of, facts_of
from icap.client.message import Adapted, Message, Service
from icap.client.verdict_memory import VerdictMemory

_HASH_INLINE = 1024 * 1024


class Found(Enum):
    """What became of a question."""

    HIT = "hit"
    JOINED = "joined"
    """Another message with the same body was being scanned, and its verdict was used."""
    SHARED = "shared"
    """Another worker or node had it."""
    MISS = "miss"
    UNKNOWN = "unknown"
    """The body's hash was not known before it was scanned: it was still arriving."""


class Tier(Protocol):
    """Verdicts that workers and nodes share. Never raises, and never takes longer than a small deadline."""

    async def get(self, scope: str, key: Key) -> Kept | None:
        """None also when it is away, or holds what was not written by us for this key."""

    def put(self, scope: str, key: Key, kept: Kept, seconds: float) -> None:
        """Without waiting for it."""


class Tags:
    """What is known of a service's ISTag: a verdict counts while the service has it, and has said so lately. Services say it
    with each answer, so that one that is asked nothing, because every body is known, is asked again."""

    def __init__(self, current: Callable[[], str], clock: Clock, confirm: float) -> None:
        """``current``: the tag last heard of. ``confirm``: seconds for which that is believed."""
        self._current = current
        self._clock = clock
        self._confirm = confirm
        self._heard = float("-inf")

    def hear(self) -> None:
        """The service has answered just now."""
        self._heard = self._clock.monotonic()

    def holds(self, istag: str) -> bool:
        fresh = self._clock.monotonic() - self._heard < self._confirm
        return bool(istag) and fresh and istag == self._current()


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which verdicts of a service are kept."""

    policy: str
    """What decides about its verdicts beside the message: two services with the same give the same."""
    ttl: float
    """Seconds."""
    judges: Literal["itself", "body", "message"] = "itself"
    """``itself``: the service says with each answer whether it judged by the body alone, and only then it is kept. The others
    are the operator's word for a service that does not say: by the body and its coding, or by anything in the message."""
    by_tenant: bool = True
    """A tenant's verdicts are used for its own messages only. Otherwise tenants with the same policy share them, and can find
    out by the time it takes whether another had the same file."""


class CachingService:
    """A ``Service``. Kept are CLEAN and BLOCKED alone, of whole bodies, without what the service sent along: what it modified,
    failed at, or did not look into is asked again."""

    def __init__(
        self,
        service: Service,
        terms: Terms,
        memory: VerdictMemory,
        tags: Tags,
        clock: Clock,
        *,
        patience: float = 15.0,
        tier: Tier | None = None,
        told: Callable[[Found], None] = lambda _: None,
        recalled: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        """``patience``: seconds to wait for another's scan of the same body; then it is scanned again. ``recalled``: the moment
        (seconds since the epoch) up to which verdicts on a body, by its hash, count no more."""
        self._service = service
        self._terms = terms
        self._memory = memory
        self._tags = tags
        self._clock = clock
        self._patience = patience
        self._tier = tier
        self._told = told
        self._recalled = recalled
        self._flights: dict[tuple[str, Key], asyncio.Event] = {}

    async def adapt(self, message: Message) -> Adapted:
        if message.once:
            return await self._service.adapt(message)
        digest = await _digest(message.body) if message.body else ""
        if not digest and not _is_empty(message.body):
            return await self._unknown(message)
        started = self._clock.monotonic()
        key, scope = self._key(message, digest), self._scope(message)
        kept, found = self._look(scope, key), Found.HIT
        if kept is None:
            kept, found = await self._join(scope, key), Found.JOINED
        if kept is not None:
            self._told(found)
            return self._answer(kept, message, started)
        if (scope, key) in self._flights:  # whose verdict could not be used: nobody waits for it twice
            return await self._ask(message, scope, key)
        return await self._lead(message, scope, key, started)

    # -- keys ----------------------------------------------------------------------------------------------------------

    def _scope(self, message: Message) -> str:
        return message.tenant if self._terms.by_tenant else ""

    def _key(self, message: Message, digest: str) -> Key:
        facts = facts_of(message) if self._terms.judges == "message" else ""
        size = length_of(message.body)
        return Key(self._terms.policy, message.method, coding_of(message), size, digest, facts)

    # -- using ---------------------------------------------------------------------------------------------------------

    def _look(self, scope: str, key: Key) -> Kept | None:
        kept = self._memory.get(scope, key)
        if kept is not None and not self._usable(kept):
            # a tag that was not confirmed lately may be yet; any other verdict is of no use any more
            if self._too_old(kept):
                self._memory.drop(scope, key)
            return None
        return kept

    def _usable(self, kept: Kept) -> bool:
        return not self._too_old(kept) and self._tags.holds(kept.verdict.istag)

    def _too_old(self, kept: Kept) -> bool:
        in_time = 0 <= self._clock.now() - kept.since < self._terms.ttl
        return not in_time or kept.since <= self._recalled(kept.verdict.sha256)

    def _answer(self, kept: Kept, message: Message, started: float) -> Adapted:
        ms = (self._clock.monotonic() - started) * 1000
        return Adapted(kept.used(message, self._clock.now(), ms))

    async def _join(self, scope: str, key: Key) -> Kept | None:
        """The verdict of a scan that is under way; None when there is none, or nothing comes of it, or not in time."""
        flight = self._flights.get((scope, key))
        if flight is None:
            return None
        try:
            async with asyncio.timeout(self._patience):
                await flight.wait()
        except TimeoutError:
            return None
        return self._look(scope, key)

    async def _shared(self, scope: str, key: Key) -> Kept | None:
        kept = await self._tier.get(scope, key) if self._tier is not None else None
        if kept is None or not self._usable(kept):
            return None
        if kept.verdict.sha256 != key.digest or (self._terms.judges == "itself" and not kept.verdict.by_body):
            return None
        self._memory.put(scope, key, kept)
        return kept

    # -- asking --------------------------------------------------------------------------------------------------------

    async def _lead(self, message: Message, scope: str, key: Key, started: float) -> Adapted:
        flight = self._flights[scope, key] = asyncio.Event()
        try:
            kept = await self._shared(scope, key)
            if kept is not None:
                self._told(Found.SHARED)
                return self._answer(kept, message, started)
            return await self._ask(message, scope, key)
        finally:
            # also when this message failed or its client left: the others then ask for themselves
            del self._flights[scope, key]
            flight.set()

    async def _ask(self, message: Message, scope: str, key: Key) -> Adapted:
        self._told(Found.MISS)
        adapted = await self._service.adapt(replace(message, sha256=key.digest))
        self._keep(adapted, scope, key)
        return adapted

    async def _unknown(self, message: Message) -> Adapted:
        """A body that is still arriving is scanned as it comes, and its verdict is kept for the next."""
        self._told(Found.UNKNOWN)
        adapted = await self._service.adapt(message)
        body = message.body
        if isinstance(body, Body) and body.ended and body.size:
            self._keep(adapted, self._scope(message), self._key(message, body.sha256))
        else:
            self._hear(adapted)
        return adapted

    def _hear(self, adapted: Adapted) -> None:
        if adapted.verdict.icap_status and adapted.verdict.outcome is not Outcome.ERROR:
            self._tags.hear()

    def _keep(self, adapted: Adapted, scope: str, key: Key) -> None:
        self._hear(adapted)
        if not self._keepable(adapted, key):
            return
        kept = Kept(replace(adapted.verdict, sha256=key.digest), self._clock.now())
        self._memory.put(scope, key, kept)
        if self._tier is not None:
            self._tier.put(scope, key, kept, self._terms.ttl)

    def _keepable(self, adapted: Adapted, key: Key) -> bool:
        verdict = adapted.verdict
        if verdict.outcome is Outcome.CLEAN:
            whole = adapted.kind == "unmodified" and not verdict.signature
        else:
            whole = verdict.outcome is Outcome.BLOCKED and bool(verdict.signature) and not verdict.detail
        judged = verdict.by_body if self._terms.judges == "itself" else True
        return (
            whole
            and judged
            and not verdict.unscanned
            and not adapted.links
            and verdict.icap_status in (200, 204)
            and verdict.size == key.size
            and self._tags.holds(verdict.istag)
        )


def _is_empty(body: bytes | Body | None) -> bool:
    return body.ended and not body.size if isinstance(body, Body) else not body


async def _digest(body: bytes | Body) -> str:
    """In hex; empty for no body, and while one is still arriving."""
    if isinstance(body, Body):
        return body.sha256 if body.ended and body.size else ""
    if len(body) <= _HASH_INLINE:
        return sha256(body).hexdigest()
    return await asyncio.to_thread(lambda: sha256(body).hexdigest())
