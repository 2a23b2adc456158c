"""The ledger held against what is known today: each delivery as it comes, and all of them when a list has changed."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from appliance.config.retro import Retro
from appliance.domain.clock import Clock
from appliance.domain.retro import Body, Delivery, Finding, Flow, Hunt
from appliance.retro.lists import Lists
from appliance.retro.observe import Event, deliveries, finding
from appliance.storage.retro import END, RetroLedger
from appliance.storage.retro_search import RetroSearch

logger = logging.getLogger(__name__)

BATCH: Final = 2000
"""Hashes between two notes of how far a hunt has come."""
MAX_LISTED: Final = 200
"""Flows in one alert; more make further alerts."""
PRUNE_EVERY: Final = 300.0
PRUNE_ROWS: Final = 20_000
"""New deliveries after which the tables are pruned at once: they never have many more rows than they may."""

type Alert = Callable[[Body, Sequence[Flow]], None]
"""Tells the audit stream; raises OSError or ArcusError when it cannot, and is asked again."""


class Hunter:
    """``observe`` is called by the drain's thread, ``tick`` by one other. Both raise StoreError."""

    def __init__(
        self, ledger: RetroLedger, search: RetroSearch, lists: Lists, config: Retro, tenants: Iterable[str], alert: Alert,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._search = search
        self._lists = lists
        self._config = config
        self._tenants = frozenset(tenants)
        self._alert = alert
        self._clock = clock
        self._lock = threading.Lock()
        self._unlisted = False
        """Deliveries came before the lists were read."""
        self._added = 0
        self._pruned = float("-inf")

    def observe(self, events: Iterable[Event]) -> None:
        """Take in audit events. The same event a second time changes nothing."""
        found: list[Delivery] = []
        bad: list[Finding] = []
        for event in events:
            if event.get("tenant_id") in self._tenants:
                found += deliveries(event)
                bad += [each] if (each := finding(event)) is not None else []
        with self._lock:
            self._added += len(found)
            self._unlisted = self._unlisted or (bool(found) and not self._lists.ready)
        bad += self._listed((each.tenant, each.sha256, "") for each in found)
        self._ledger.observe(found, bad)

    def tick(self) -> int:
        """One step for every tenant: how many flows were told of as having delivered something bad. Raises also what ``alert``
        raises."""
        self._lists.refresh()
        with self._lock:
            again, self._unlisted = self._unlisted and self._lists.ready, self._unlisted and not self._lists.ready
        self._prune()
        return sum(self._step(tenant, again=again) for tenant in sorted(self._tenants))

    # -- one tenant ----------------------------------------------------------------------------------------------------

    def _step(self, tenant: str, *, again: bool) -> int:
        hunt, version = self._ledger.hunt(tenant) or Hunt(tenant), self._lists.version(tenant)
        if hunt.lists != version or again:
            hunt = self._begin(hunt, version)
        if hunt.position != END:
            self._hold_against(hunt)
        told = self._tell(tenant)
        if hunt.started_at and not hunt.ended_at and not self._ledger.waiting(tenant, hunt.since):
            self._end(tenant)
        return told

    def _begin(self, hunt: Hunt, version: str) -> Hunt:
        if not version or not self._ledger.hashes(hunt.tenant, "", 1):
            return self._ledger.change(hunt.tenant, lists=version, position=END)
        logger.info("a hash list has changed: what was delivered is held against it", extra={"tenant": hunt.tenant})
        now = self._clock.now()
        return self._ledger.change(
            hunt.tenant, lists=version, position="", cause="hash list", started_at=now, ended_at=0.0, judged=0, found=0
        )

    def _end(self, tenant: str) -> None:
        hunt = self._ledger.change(tenant, ended_at=self._clock.now())
        counts = {"tenant": tenant, "cause": hunt.cause, "judged": hunt.judged, "found": hunt.found}
        logger.info("all that was delivered and can be judged was judged again", extra=counts)

    def _hold_against(self, hunt: Hunt) -> None:
        """From where the last hunt came to: also one that another process has begun, and did not end."""
        tenant, at = hunt.tenant, hunt.position
        if not hunt.lists:
            self._ledger.change(tenant, position=END)
            return
        while at != END:
            hashes = self._ledger.hashes(tenant, at, BATCH)
            to = hashes[-1][0] if len(hashes) == BATCH else END
            bad = self._listed((tenant, sha256, plain) for sha256, plain in hashes)
            self._ledger.advance(tenant, at, to, len(hashes), bad)
            at = to

    def _listed(self, bodies: Iterable[tuple[str, str, str]]) -> list[Finding]:
        """What the lists know, by the hash of a body or of what is packed in it."""
        found, now = [], self._clock.now()
        for tenant, sha256, plain in bodies:
            hit = self._lists.find(tenant, sha256) or (self._lists.find(tenant, plain) if len(plain) == 64 else None)
            if hit is not None:
                found.append(Finding(tenant, sha256, hit.signature, hit.by, hit.engine, now))
        return found

    # -- alerts --------------------------------------------------------------------------------------------------------

    def _tell(self, tenant: str) -> int:
        """An alert for each bad body with flows that none has listed: also for what was delivered after it was found. Marked
        when it was told: a crash in between tells it again, under the same id."""
        told = 0
        for sha256 in self._ledger.untold(tenant, BATCH):
            while flows := self._ledger.untold_flows(tenant, sha256, MAX_LISTED):
                body = self._search.bodies([sha256], tenant)[0]
                self._alert(body, flows)
                self._ledger.mark_told(tenant, sha256, flows)
                told += len(flows)
        return told

    def _prune(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            if now - self._pruned < PRUNE_EVERY and self._added < PRUNE_ROWS:
                return
            self._added, self._pruned = 0, now
        before = self._clock.now() - self._config.max_age
        for tenant in self._ledger.tenants():
            self._ledger.prune(tenant, before, self._config.max_bodies, self._config.max_flows)
