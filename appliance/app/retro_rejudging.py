"""Samples in the admin process: judged again when signatures change, unpacked for lists of hashes, kept within limits."""

import asyncio
import hashlib
import logging
from typing import Final

from appliance.app import retro_samples
from appliance.app.retro_services import RetroServices, changed
from appliance.app.sample_keys import store as store_of
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.domain.errors import ArcusError
from appliance.domain.quarantine import QuarantineError
from appliance.domain.retro import Finding, Hunt
from appliance.quarantine.cabinet import Cabinet
from appliance.retro.lists import Lists
from appliance.retro.rejudge import Judge, Rejudge, due, unpacked
from appliance.storage.retro import RetroLedger
from appliance.storage.retro_samples import RetroSamples, Stale
from appliance.storage.sqlite import SqliteStore
from appliance.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

INTERVAL: Final = 1.0
TIDY_EVERY: Final = 5.0
"""Seconds between two looks at what is too old or too much, and at what is packed."""
GREET_EVERY: Final = 10.0
MAX_UNPACKED: Final = 64 * 1024 * 1024
"""Octets of what a packed sample hides, whose hash is made."""
MOST, WITHIN = 6, 600.0
"""Hunts that begin by themselves within so many seconds: some services have a new tag with every answer."""


class Rejudging:
    """Also of tenants that keep none any more: until those that they have are too old."""

    def __init__(self, config: AppConfig, store: SqliteStore, lists: Lists, metrics: Metrics, clock: Clock) -> None:
        self._config = config
        self._lists = lists
        self._metrics = metrics
        self._clock = clock
        self._ledger, self._samples = RetroLedger(store), RetroSamples(store)
        self._store = store_of(config)
        self._services = RetroServices(config)
        self._begun: dict[str, list[float]] = {}
        self._tidied = self._greeted = float("-inf")
        self._works = {
            tenant: self._work(tenant, judge) for tenant, judge in self._services.by_tenant.items() if config.retro.enabled
        }
        self.trouble = ""

    async def run(self) -> None:
        """Until cancelled."""
        self._services.start()
        try:
            while True:
                try:
                    await self._step()
                    self.trouble = ""
                except (OSError, ArcusError) as error:
                    self._failed(str(error))
                await asyncio.sleep(INTERVAL)
        finally:
            await self._services.close()

    async def _step(self) -> None:
        now = self._clock.monotonic()
        if now - self._greeted >= GREET_EVERY:
            self._greeted = now
            await self._services.greet()
        if now - self._tidied >= TIDY_EVERY:
            self._tidied = now
            await asyncio.to_thread(self._tidy)
        for tenant, work in self._works.items():
            hunt = await asyncio.to_thread(self._look, tenant)
            await work.step(tenant, due(hunt, self._clock.now(), self._config.retro.again))

    def _work(self, tenant: str, judge: Judge) -> Rejudge:
        def told(result: str) -> None:
            self._metrics.inc("arcus_retro_judged_total", tenant, result)

        return Rejudge(self._samples, self._cabinet, judge, self._config.retro.rate, self._clock, told=told)

    def _cabinet(self, tenant: str) -> Cabinet:
        return self._store.cabinet(tenant)

    def _failed(self, trouble: str) -> None:
        if trouble != self.trouble:
            logger.error("samples cannot be judged again", extra={"error": trouble})
        self.trouble = trouble

    # -- when signatures change ----------------------------------------------------------------------------------------

    def _look(self, tenant: str) -> Hunt:
        """The tenant's hunt; begun when its scanners have other signatures."""
        hunt, now = self._ledger.hunt(tenant) or Hunt(tenant), self._clock.now()
        tag = self._services.tag(tenant, hunt.tag, now)
        if tag == hunt.tag:
            return hunt
        if not changed(hunt.tag, tag):
            return self._ledger.change(tenant, tag=tag)
        if not self._may_begin(tenant):
            return hunt  # and it is seen again with the next look
        logger.info("signatures have changed: samples are judged again", extra={"tenant": tenant})
        return self._ledger.change(
            tenant, tag=tag, since=now, cause="signatures", started_at=now, ended_at=0.0, judged=0, found=0
        )

    def _may_begin(self, tenant: str) -> bool:
        now = self._clock.monotonic()
        begun = [at for at in self._begun.get(tenant, []) if now - at < WITHIN]
        may = len(begun) < MOST
        self._begun[tenant] = [*begun, now] if may else begun
        return may

    # -- limits, and what is packed ------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        for tenant in self._store.tenants():
            gone = retro_samples.prune(self._store, tenant, self._config, self._clock)
            self._samples.lost(tenant, gone)
            for each in self._samples.packed(tenant, 20):
                self._unpack(tenant, each)

    def _unpack(self, tenant: str, each: Stale) -> None:
        """Lists of hashes know files, and not the gzip in which one was transferred."""
        try:
            with self._cabinet(tenant).open(each.sample) as opened:
                data = unpacked(b"".join(opened.pieces()), MAX_UNPACKED)
        except QuarantineError:
            self._samples.lost(tenant, [each.sample])
            return
        plain = hashlib.sha256(data).hexdigest() if data is not None else "-"
        self._samples.inside(tenant, each.sha256, plain)
        if data is not None and (hit := self._lists.find(tenant, plain)) is not None:
            now = self._clock.now()
            self._samples.bad(Finding(tenant, each.sha256, hit.signature, hit.by, hit.engine, now))
