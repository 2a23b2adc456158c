"""The quarantine in a worker, in the admin process and for commands. Nothing here leads to the database: workers have no use
for it."""

import asyncio
import logging
from functools import partial
from typing import Final

from appliance.app.paths import StatePaths
from appliance.app.quarantine_keys import store
from appliance.audit.acts import tell
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.domain.errors import ArcusError
from appliance.domain.quarantine import Keeping
from appliance.quarantine.desk import QuarantineDesk
from appliance.quarantine.keeper import Keeper, Tell
from appliance.quarantine.retention import prune
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

INTERVAL: Final = 5.0
"""Seconds between two looks at what is too old or too much."""


def keeper(config: AppConfig, metrics: Metrics) -> Keeper:
    """For a worker."""

    def count(result: Keeping) -> None:
        metrics.inc("arcus_quarantine_bodies_total", result.value)

    kept = store(config)
    cabinets = {tenant: kept.cabinet(tenant) for tenant in config.quarantine.tenants}
    return Keeper(cabinets, config.quarantine, _teller(config), count)


def desk(config: AppConfig, clock: Clock) -> QuarantineDesk:
    """For people."""
    return QuarantineDesk(store(config), _teller(config), clock)


def _teller(config: AppConfig) -> Tell:
    return partial(tell, StatePaths(config.state_dir).spool, config.audit.spool_max)


class QuarantineRetention:
    """Keeps the limits, in the admin process."""

    def __init__(self, config: AppConfig, metrics: Metrics, clock: Clock) -> None:
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._store = store(config)
        self._trouble = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.to_thread(self.step)
            await asyncio.sleep(INTERVAL)

    def step(self) -> None:
        """One look at every tenant; one that cannot be looked at does not hide the others."""
        troubles = [trouble for tenant in self._store.tenants() if (trouble := self._prune(tenant))]
        if troubles and troubles[0] != self._trouble:
            logger.error("the quarantine cannot be kept within its limits", extra={"errors": troubles})
        self._trouble = troubles[0] if troubles else ""

    def _prune(self, tenant: str) -> str:
        try:
            for why, number in prune(self._store, tenant, self._config.quarantine, _teller(self._config), self._clock).items():
                self._metrics.inc("arcus_quarantine_removed_total", why, amount=number)
            stored = self._store.cabinet(tenant).stored()
        except (OSError, ArcusError) as error:
            return f"tenant {tenant}: {error}"
        self._metrics.set("arcus_quarantine_items", tenant, value=len(stored))
        self._metrics.set("arcus_quarantine_size_bytes", tenant, value=sum(each.size for each in stored))
        return ""

    def sample(self, health: HealthWriter) -> None:
        health.set("quarantine", State.DEGRADED if self._trouble else State.OK, self._trouble)
