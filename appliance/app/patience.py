"""Downloads that are waited for on a page, in a worker: joined from the configuration."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Final

from appliance.app.paths import StatePaths
from appliance.config.patience import Patience
from appliance.config.root import AppConfig
from appliance.config.tenant import Tenant
from appliance.domain.clock import Clock
from appliance.domain.errors import ConfigError, Problem
from appliance.patience.desk import Desk
from appliance.patience.shelf import Shelf
from appliance.patience.ticket import Tickets
from appliance.patience.view import State
from appliance.patience.wire import Counter
from appliance.storage import secret_file
from appliance.telemetry.metrics import Metrics

EVERY: Final = 1.0
"""Seconds between two looks at what nobody waits for any more."""


class Downloads:
    """Where no tenant has a patience page, nothing is started."""

    def __init__(self, config: AppConfig, clock: Clock) -> None:
        """Raises ConfigError: the key of the addresses cannot be used."""
        paths, tenants = StatePaths(config.state_dir), patient(config)
        owner = secrets.token_hex(12)
        self.shelf = Shelf(clock)
        self._counter = Counter(paths.run, owner, self.shelf.find)
        self.desk = Desk(self.shelf, Tickets(_key(paths) if tenants else bytes(32), clock.now), tenants, paths.run, owner)
        self._used = bool(tenants)
        self._checking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Raises OSError: there is no socket to be had."""
        if self._used:
            self._counter.start()
            self._checking = asyncio.get_running_loop().create_task(self._check())

    def sample(self, metrics: Metrics) -> None:
        if self._used:
            states = self.shelf.states()
            for state in (State.RECEIVING, State.SCANNING, State.READY):
                metrics.set("arcus_downloads_held", state.value, value=states[state.value])

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self.shelf.check()

    async def drained(self, left: Callable[[], float]) -> None:
        """Others serve now: wait until what is clean was fetched, for as long as ``left`` says (seconds)."""
        while self.shelf.states() and left() > 0:  # noqa: ASYNC110 - the end of a time as well
            await asyncio.sleep(min(EVERY, left()))

    async def close(self) -> None:
        """Before the spool is closed: what is held has its records."""
        self._counter.close()
        self.shelf.close()
        if self._checking is not None:
            self._checking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._checking


def patient(config: AppConfig) -> dict[str, tuple[Tenant, Patience]]:
    """The tenants whose auditors have a patience page."""
    pages = {auditor.name: auditor.large_bodies.patience for auditor in config.auditor}
    found = ((tenant, pages[tenant.auditor]) for tenant in config.tenant)
    return {tenant.tenant_id: (tenant, page) for tenant, page in found if page is not None}


def _key(paths: StatePaths) -> bytes:
    file = paths.patience_key
    try:
        return secret_file.ensure(file)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(f"the key of patience pages cannot be used: {error}", file=str(file))]) from error
