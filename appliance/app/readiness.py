"""While a CA is being replaced: learns from the audit stream who trusts the next one, and tells the workers."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.app import rotation
from appliance.app.paths import StatePaths
from appliance.app.ready_clients import tell
from appliance.audit.sinks.base import Sink
from appliance.audit.sinks.encounters import EncounterSink
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.domain.readiness import Readiness, readiness
from appliance.storage.ca_encounters import CaEncounters
from appliance.storage.sqlite import SqliteStore, StoreError
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics
from certs.generations import Generation

logger = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between two looks at all clients, which take a second where there are a hundred thousand: not on the event loop."""
PRUNE_INTERVAL = 3600.0


@dataclass(frozen=True, slots=True)
class Rotation:
    """A CA that is being replaced, by its name and the fingerprints of both."""

    ca: str
    current: str
    upcoming: str


def rotations(config: AppConfig) -> Iterator[Rotation]:
    """Those under way, as they are on disk."""
    current = rotation.readable(config)
    for name, found in rotation.others(config).items():
        if Generation.NEXT in found and name in current:
            yield Rotation(name, current[name].fingerprint, found[Generation.NEXT].fingerprint)


def report(store: SqliteStore, under_way: Rotation, now: float) -> Readiness:
    """Raises StoreError."""
    found = CaEncounters(store).of(under_way.current, under_way.upcoming)
    return readiness(found, under_way.current, under_way.upcoming, now)


class ReadinessKeeper:
    """The admin process's part. ``rotations``: those under way at the start."""

    def __init__(self, config: AppConfig, store: SqliteStore, clock: Clock) -> None:
        self.rotations = tuple(rotations(config))
        self._run = StatePaths(config.state_dir).run
        self._store = store
        self._clock = clock
        self._pruned = -PRUNE_INTERVAL
        self._told: dict[str, frozenset[str]] | None = None
        self._clients: dict[str, tuple[int, int]] = {}
        self._trouble = ""

    def sinks(self) -> list[Sink]:
        cas = frozenset(each for under_way in self.rotations for each in (under_way.current, under_way.upcoming))
        return [EncounterSink(cas, CaEncounters(self._store).add)] if cas else []

    def of(self, ca: str) -> Readiness | None:
        """Of all tenants that share the CA; None when it is not being replaced. Raises StoreError."""
        found = next((each for each in self.rotations if each.ca == ca), None)
        return None if found is None else report(self._store, found, self._clock.now())

    async def run(self) -> None:
        """Keep the list that the workers read, until cancelled; at once done when no CA is being replaced."""
        while self.rotations:
            self._trouble = await asyncio.to_thread(self.step)
            await asyncio.sleep(INTERVAL)

    def step(self) -> str:
        """Once: what went wrong, or nothing."""
        try:
            self._keep()
        except (StoreError, OSError) as error:
            return str(error)
        return ""

    def sample(self, metrics: Metrics, health: HealthWriter) -> None:
        """For the heartbeat."""
        for ca, (ready, missing) in self._clients.items():
            metrics.set("arcus_ca_clients", ca, "ready", value=ready)
            metrics.set("arcus_ca_clients", ca, "missing", value=missing)
        if self.rotations:
            health.set("ca_readiness", State.DEGRADED if self._trouble else State.OK, self._trouble)

    def _keep(self) -> None:
        ready: dict[str, frozenset[str]] = {}
        clients: dict[str, tuple[int, int]] = {}
        for under_way in self.rotations:
            found = report(self._store, under_way, self._clock.now())
            missing = found.missing
            # an address that is ready in one tenant and not in another is not ready
            ready[under_way.upcoming] = frozenset(each.ip for each in found.clients) - {each.ip for each in missing}
            clients[under_way.ca] = found.ready, len(missing)
        self._clients = clients
        if ready != self._told:
            tell(self._run, ready)
            self._told = ready
        if self.rotations and self._clock.monotonic() - self._pruned > PRUNE_INTERVAL:
            CaEncounters(self._store).prune(self._clock.now())
            self._pruned = self._clock.monotonic()
