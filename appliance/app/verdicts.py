"""Kept verdicts in a worker: one memory, and one tier where Redis is configured, for all services."""

import asyncio
from collections.abc import Callable
from typing import Final

from appliance.config.auditor import Auditor
from appliance.config.icap_service import IcapService as Node
from appliance.config.verdict_cache import VerdictCache
from appliance.domain.clock import Clock
from appliance.telemetry.metrics import Metrics
from certs.sealing import OVERHEAD, KeyRing
from certs.tiers import Away, Store
from icap.client import IcapService, Service
from icap.client.kept import MAX_BYTES, Kept, Key
from icap.client.verdict_cache import CachingService, Found, Tags, Terms
from icap.client.verdict_memory import VerdictMemory

PATIENCE: Final = 0.5
"""Share of a service's timeout for which a message waits for another's scan of the same body."""
MAX_WRITES: Final = 64
"""Writes under way; further verdicts are not shared."""


class SealedTier:
    """``Tier`` in a store that others can read and write: what they did not seal for this key is no verdict."""

    def __init__(self, store: Store, ring: KeyRing) -> None:
        self._store = store
        self._ring = ring
        self._writes: set[asyncio.Task[None]] = set()

    async def get(self, scope: str, key: Key) -> Kept | None:
        place = self._place(scope, key)
        try:
            sealed = await self._store.get(place, MAX_BYTES + OVERHEAD + 1)
            return Kept.from_bytes(self._ring.open(sealed, place.encode())) if sealed else None
        except (Away, ValueError):
            return None

    def put(self, scope: str, key: Key, kept: Kept, seconds: float) -> None:
        data, place = kept.to_bytes(), self._place(scope, key)
        if len(data) <= MAX_BYTES and len(self._writes) < MAX_WRITES:
            write = asyncio.get_running_loop().create_task(self._write(place, data, seconds))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)

    async def close(self) -> None:
        """End the writes under way."""
        for write in self._writes:
            write.cancel()
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _write(self, place: str, data: bytes, seconds: float) -> None:
        try:
            await self._store.put(place, self._ring.seal(data, place.encode()), seconds)
        except Away:
            return  # the tier counts it, and the verdict is in memory

    def _place(self, scope: str, key: Key) -> str:
        return f"verdict:{self._ring.name(b'verdict scope ' + scope.encode())}:{self._ring.name(key.to_bytes())}"


class Verdicts:
    """Puts the memory before services, where it is enabled."""

    def __init__(
        self,
        config: VerdictCache,
        metrics: Metrics,
        clock: Clock,
        tier: SealedTier | None,
        recalled: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        """``recalled``: up to which moment verdicts on a body, by its hash, count no more."""
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._tier = tier if config.redis else None
        self._recalled = recalled
        self._memory = VerdictMemory(config.entries)
        self._tags: dict[IcapService, Tags] = {}
        self._listed = {each.service: each for each in config.services}

    def short(self, client: IcapService, auditor: Auditor) -> Service:
        """Around a service that an auditor gives by its URI."""
        return self._around(client, auditor.icap_timeout)

    def named(self, client: IcapService, node: Node) -> Service:
        """Around a service of the list. Who is held to other certificates may have been answered by another server."""
        return self._around(client, node.timeout, node.name, f"{node.tls_ca}")

    def sample(self) -> None:
        """For the heartbeat."""
        self._metrics.set("arcus_verdict_cache_entries", value=len(self._memory))

    async def close(self) -> None:
        if self._tier is not None:
            await self._tier.close()

    def _around(self, client: IcapService, timeout: float, name: str = "", trust: str = "") -> Service:
        config, listed = self._config, self._listed.get(name)
        if not config.enabled:
            return client
        judges = listed.judges if listed is not None else "itself"
        ttl = listed.ttl if listed is not None else config.ttl
        # Two that ask the same service in the same way cannot be answered differently.
        terms = Terms(f"{client.address} {judges} {trust}", ttl, judges, by_tenant=config.scope == "tenant")
        tags = self._tags.setdefault(client, Tags(lambda: client.stats.istag, self._clock, config.confirm))
        return CachingService(
            client,
            terms,
            self._memory,
            tags,
            self._clock,
            patience=timeout * PATIENCE,
            tier=self._tier,
            told=self._found,
            recalled=self._recalled,
        )

    def _found(self, found: Found) -> None:
        self._metrics.inc("arcus_verdict_cache_total", found.value)
