"""The shared tier in a worker: Redis in front of whoever signs."""

from typing import TYPE_CHECKING

from appliance.app.paths import StatePaths
from appliance.app.publishing import publication_of
from appliance.app.verdicts import SealedTier
from appliance.config.ca import Ca
from appliance.config.redis import Redis, read_password
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics
from certs import sealing
from certs.authority import PublicAuthority
from certs.signer import Signer
from certs.tiers import Found, SharedLeaves
from certs.withdrawn import Withdrawn

if TYPE_CHECKING:
    from certs.redis_store import RedisServer, RedisStore


class SharedTier:
    """Nothing at all where the configuration names no Redis."""

    def __init__(self, config: AppConfig, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._store: RedisStore | None = None
        if config.redis is not None:
            from certs import redis_store  # with a client library that most have no use for

            self._ring = sealing.load(StatePaths(config.state_dir).leaf_cache_key)
            self._store = redis_store.RedisStore(server(config.redis), clock, self._operated)

    def around(self, signer: Signer, ca: Ca, authority: PublicAuthority, withdrawn: Withdrawn | None = None) -> Signer:
        """The signer with the tier before it."""
        if self._store is None:
            return signer
        return SharedLeaves(
            signer, self._store, self._ring, authority, ca.leaf_cache_ttl, self._clock,
            self._found, variant=repr((ca.leaf_days, publication_of(ca, authority))).encode(),
            withdrawn=withdrawn,
        )  # fmt: skip

    def verdicts(self) -> SealedTier | None:
        """Of the same store, and sealed by the same keys, for the verdicts of scans."""
        return SealedTier(self._store, self._ring) if self._store is not None else None

    def start(self) -> None:
        if self._store is not None:
            self._store.start()

    def sample(self, health: HealthWriter) -> None:
        """For the heartbeat: without it everything works, but each node alone."""
        if self._store is None:
            return
        trouble = self._store.trouble or self._store.refusal
        health.set("redis", State.DEGRADED if trouble else State.OK, trouble)
        self._metrics.set("arcus_redis_away", value=int(not self._store.available))

    async def close(self) -> None:
        if self._store is not None:
            await self._store.close()

    def _found(self, found: Found) -> None:
        self._metrics.inc("arcus_leaf_shared_total", found.value)

    def _operated(self, operation: str, result: str, seconds: float) -> None:
        self._metrics.inc("arcus_redis_operations_total", operation, result)
        if result == "ok":
            self._metrics.observe("arcus_redis_seconds", operation, value=seconds)


def server(node: Redis) -> "RedisServer":
    """The server as the configuration names it. Raises OSError when the password cannot be read."""
    from certs.redis_store import RedisServer

    password = read_password(node.password_file) if node.password_file else None
    return RedisServer(node.url, node.username, password, node.ca_file, node.timeout)
