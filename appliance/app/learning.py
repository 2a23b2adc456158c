"""Learning, in the admin process: from the audit stream to the store, and from there to the workers."""

import asyncio
import logging

from appliance.app.exclusions import SnapshotWriter
from appliance.app.paths import StatePaths
from appliance.audit.sinks.base import Sink
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from appliance.learning.desk import Desk
from appliance.learning.learner import Learner
from appliance.learning.sink import LearningSink
from appliance.learning.tenants import TenantRules
from appliance.policy.decrypt import compile_lists
from appliance.policy.exclusions import Veto
from appliance.storage.exclusions import ExclusionStore
from appliance.storage.sqlite import SqliteStore
from appliance.telemetry.health import HealthWriter, State

logger = logging.getLogger(__name__)

INTERVAL = 1.0


def tenant_rules(config: AppConfig) -> dict[str, TenantRules]:
    """By tenant; tenants that decrypt nothing have nothing to exclude."""
    auditors = {auditor.name: auditor.tls_interception for auditor in config.auditor}
    lists = compile_lists(config.host_list)
    return {
        tenant.tenant_id: TenantRules(interception.exclusions.learn, Veto(tenant, interception, lists).why)
        for tenant in config.tenant
        if (interception := auditors[tenant.auditor]) is not None
    }


def learns(config: AppConfig) -> bool:
    """Whether any tenant learns."""
    return any(rules.learning.mode != "off" for rules in tenant_rules(config).values())


def desk(config: AppConfig, store: ExclusionStore) -> Desk:
    return Desk(store, tenant_rules(config), SystemClock())


class Learning:
    """``run`` writes the workers' list also where nothing is learned: a person may have added to it."""

    def __init__(self, config: AppConfig, store: SqliteStore, paths: StatePaths) -> None:
        kept = ExclusionStore(store)
        self.desk = desk(config, kept)
        self._learner = Learner(kept, tenant_rules(config), SystemClock())
        self._writer = SnapshotWriter(paths.exclusions)
        self._learns = learns(config)
        self._active = 0
        self._error = ""

    def sinks(self) -> list[Sink]:
        return [LearningSink(self._learner.observe)] if self._learns else []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.to_thread(self._step)
            await asyncio.sleep(INTERVAL)

    def _step(self) -> None:
        try:
            entries = self._learner.tick()
            self._writer.write(entries)
            self._active, self._error = len(entries), ""
        except OSError as error:
            if str(error) != self._error:
                logger.error("exclusions cannot be brought up to date", extra={"error": str(error)})
            self._error = str(error)

    def sample(self, health: HealthWriter) -> int:
        """Say how it goes; how many exclusions hold."""
        health.set("exclusions", State.DEGRADED if self._error else State.OK, self._error)
        return self._active
