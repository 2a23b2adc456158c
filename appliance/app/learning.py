"""Learning, in the admin process: from the audit stream to the store, and from there to the workers."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from appliance.app.exclusions import SnapshotWriter
from appliance.app.paths import StatePaths
from appliance.audit.acts import tell
from appliance.audit.sinks.base import Sink
from appliance.config.root import AppConfig
from appliance.domain.act import Act
from appliance.domain.clock import SystemClock
from appliance.domain.errors import ArcusError
from appliance.learning.book import Book
from appliance.learning.desk import Desk
from appliance.learning.learner import Learner
from appliance.learning.outbox import Outbox
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


def book(config: AppConfig, store: SqliteStore) -> Book:
    return Book(ExclusionStore(store), tenant_rules(config), SystemClock())


def teller(config: AppConfig) -> Callable[[Iterable[Act]], None]:
    """Puts acts into the spool of audit events."""
    return partial(tell, StatePaths(config.state_dir).spool, config.audit.spool_max)


class Learning:
    """``run`` writes the workers' list also where nothing is learned: a person may have added to it."""

    def __init__(self, config: AppConfig, store: SqliteStore, paths: StatePaths) -> None:
        kept = book(config, store)
        self.desk = Desk(kept)
        self._learner = Learner(kept)
        self._outbox = Outbox(kept.store, teller(config))
        self._untold = ""
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
            await asyncio.to_thread(self.tell)
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

    def tell(self) -> None:
        """Decisions into the audit stream; what cannot be told now waits in the database."""
        try:
            self._outbox.empty()
            self._untold = ""
        except (OSError, ArcusError) as error:
            if str(error) != self._untold:
                logger.error("decisions cannot be told to the audit stream", extra={"error": str(error)})
            self._untold = str(error)

    def sample(self, health: HealthWriter) -> int:
        """Say how it goes; how many exclusions hold."""
        health.set("exclusions", State.DEGRADED if self._error else State.OK, self._error)
        health.set("audit_decisions", State.DEGRADED if self._untold else State.OK, self._untold)
        return self._active
