"""Retro-hunt in the admin process and for commands: from the audit stream to the ledger, and from there to alerts."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from appliance.app.paths import StatePaths
from appliance.app.recalled import MAX_ENTRIES, MEMORY, RecalledWriter
from appliance.app.retro_lists import ConfiguredLists
from appliance.app.retro_rejudging import Rejudging
from appliance.audit.acts import tell, tell_events
from appliance.audit.finds import event_of
from appliance.audit.sinks.base import Sink
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.domain.errors import ArcusError
from appliance.domain.retro import Body, Flow
from appliance.retro.desk import RetroDesk
from appliance.retro.hunter import Hunter
from appliance.retro.sink import RetroSink
from appliance.storage.retro import RetroLedger
from appliance.storage.retro_samples import RetroSamples
from appliance.storage.retro_search import RetroSearch
from appliance.storage.sqlite import SqliteStore
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

INTERVAL: Final = 1.0
"""Seconds between two looks at lists and requests."""
COUNT_EVERY: Final = 30.0
"""Seconds between two counts of the tables, for metrics."""


def tenants(config: AppConfig) -> list[str]:
    return [tenant.tenant_id for tenant in config.tenant]


def desk(config: AppConfig, store: SqliteStore, clock: Clock) -> RetroDesk:
    """For people."""
    told = partial(tell, StatePaths(config.state_dir).spool, config.audit.spool_max)
    return RetroDesk(RetroLedger(store), RetroSearch(store), tenants(config), told, clock, enabled=config.retro.enabled)


class Retro:
    """The part of the admin process."""

    def __init__(self, config: AppConfig, store: SqliteStore, metrics: Metrics, clock: Clock) -> None:
        self.desk = desk(config, store, clock)
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._lists = ConfiguredLists(config)
        self._hunter = Hunter(
            RetroLedger(store), RetroSearch(store), self._lists, config.retro, tenants(config), self._alert, clock
        )
        self._rejudging = Rejudging(config, store, self._lists, metrics, clock)
        self._samples = RetroSamples(store)
        self._recalled = RecalledWriter(StatePaths(config.state_dir).recalled)
        self._trouble = ""
        self._counted = float("-inf")

    def sinks(self) -> list[Sink]:
        return [RetroSink(self._hunter.observe)] if self._config.retro.enabled else []

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._run(), self._rejudging.run())

    async def _run(self) -> None:
        while self._config.retro.enabled:
            await asyncio.to_thread(self.step)
            await asyncio.sleep(INTERVAL)

    def step(self) -> None:
        """One look; what cannot be done now is done with the next."""
        try:
            self._hunter.tick()
            self._recalled.write(self._samples.recalled(self._clock.now() - MEMORY, MAX_ENTRIES + 1))
            self._count()
            trouble = ""
        except (OSError, ArcusError) as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            logger.error("what was delivered cannot be judged again", extra={"error": trouble})
        self._trouble = trouble

    def sample(self, health: HealthWriter) -> None:
        trouble = self._trouble or self._rejudging.trouble or self._lists.flaw
        health.set("retro", State.DEGRADED if trouble else State.OK, trouble)

    def _alert(self, body: Body, flows: Sequence[Flow]) -> None:
        tell_events(
            StatePaths(self._config.state_dir).spool, self._config.audit.spool_max, [event_of(body, flows, self._clock.now())]
        )
        self._metrics.inc("arcus_retro_alerts_total", body.tenant)
        told = {"tenant": body.tenant, "sha256": body.sha256, "signature": body.signature, "by": body.found_by}
        logger.warning("a body that was delivered is bad", extra=told | {"flows": len(flows)})

    def _count(self) -> None:
        now = self._clock.monotonic()
        if now - self._counted < COUNT_EVERY:
            return
        self._counted = now
        for status in self.desk.status():
            for what, number in _numbers(status.bodies, status.bad, status.without_sample, status.waiting):
                self._metrics.set("arcus_retro_bodies", status.tenant, what, value=number)


def _numbers(*counts: int) -> Iterable[tuple[str, int]]:
    return zip(("known", "bad", "without_sample", "waiting"), counts, strict=True)
