"""Observations in, exclusions out: what the admin process does with the audit stream, once a second."""

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Final

from appliance.domain.act import Actor
from appliance.domain.exclusion import Kind, Learned, State
from appliance.domain.learning import Acceptance, Evidence, Key, Record, Refusal
from appliance.learning.book import Book
from appliance.learning.judge import doubts, judge, reason
from appliance.learning.observe import Event, acceptance, refusal
from appliance.learning.tenants import TenantRules
from appliance.storage.exclusions import learned

logger = logging.getLogger(__name__)

PRUNE_EVERY: Final = 600.0
PRUNE_ROWS: Final = 10_000
"""New observations after which the tables are pruned at once: they never have many more rows than the store keeps."""
POLICY: Final = Actor("policy")
RETEST: Final = Actor("retest")
EXPIRY: Final = Actor("expiry")
"""Actors in an exclusion's history that are no persons."""

type Place = tuple[str, str, str]


class Learner:
    """``observe`` is called by the drain's thread, ``tick`` by one other. Both raise StoreError."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._store = book.store
        self._tenants = book.tenants
        self._clock = book.clock
        self._lock = threading.Lock()
        self._changed: set[Key] | None = None
        """Keys with new refusals; None: not known, look at all."""
        self._accepted: dict[Place, float] = {}
        self._pruned = 0.0
        self._added = 0

    def observe(self, events: Iterable[Event]) -> None:
        """Take in audit events of tenants that learn. The same event a second time changes nothing."""
        refusals: list[Refusal] = []
        acceptances: list[Acceptance] = []
        for event in events:
            if self._learns(event.get("tenant_id")):
                refusals += [each] if (each := refusal(event)) is not None else []
                acceptances += [found] if (found := acceptance(event)) is not None else []
        added = self._store.observations.observe(refusals, acceptances)
        with self._lock:
            self._added += added
            if self._changed is not None:
                self._changed |= {each.key for each in refusals}
            for found in acceptances:
                self._note(found)

    def tick(self) -> tuple[Learned, ...]:
        """Expire, believe what retests have shown, judge what is new. The exclusions that hold now."""
        now = self._clock.now()
        with self._lock:
            changed, self._changed = self._changed, set()
            accepted, self._accepted = self._accepted, {}
        try:
            self._close(now, accepted)
            period = max((rules.learning.period for rules in self._tenants.values()), default=0.0)
            for key in self._store.observations.suspects(now - period) if changed is None else changed:
                self._consider(key, now)
            if now - self._pruned >= PRUNE_EVERY or self._added >= PRUNE_ROWS:
                self._prune(now)
            return tuple(learned(each) for each in self._store.standing() if each.state is State.ACTIVE)
        except OSError:
            with self._lock:
                self._changed = None
                self._accepted = accepted | self._accepted
            raise

    def _prune(self, now: float) -> None:
        with self._lock:
            self._added = 0
        self._store.prune(now)
        self._pruned = now

    def _learns(self, tenant: object) -> bool:
        rules = self._tenants.get(tenant) if isinstance(tenant, str) else None
        return rules is not None and rules.learning.mode != "off"

    def _note(self, each: Acceptance) -> None:
        for fingerprint in (each.fingerprint, ""):
            place = (each.tenant, each.host, fingerprint)
            self._accepted[place] = max(each.at, self._accepted.get(place, 0.0))

    def _close(self, now: float, accepted: Mapping[Place, float]) -> None:
        """What has run out, and what a retest has shown not to be needed. What a person added stays until its end."""
        for record in self._store.standing():
            key = record.key
            if record.until <= now:
                self._end(record, EXPIRY, "its time is over")
            elif key.kind is not Kind.MANUAL and accepted.get((key.tenant, key.host, key.fingerprint), 0.0) > record.decided_at:
                self._end(record, RETEST, "a client of the same kind accepted our certificate")

    def _end(self, record: Record, actor: Actor, note: str) -> None:
        if self._book.move(record, State.EXPIRED, record.until, actor, State.EXPIRED.value, note):
            logger.info("an exclusion has ended", extra={"exclusion": record.id, "host": record.key.host, "why": note})

    def _consider(self, key: Key, now: float) -> None:
        rules = self._tenants.get(key.tenant)
        if rules is None or rules.learning.mode == "off":
            return
        evidence = self._store.observations.evidence(key, max(now - rules.learning.period, self._store.ended_at(key)))
        standing = self._store.open(key)
        if standing is not None:
            if standing.key.kind is not Kind.MANUAL and evidence.failures:
                self._reconsider(standing, evidence, rules, now)
            return
        veto = rules.veto(key.host)
        # who contributed to what takes a look at all that stands: only for what is complete otherwise
        if (
            not judge(key, evidence, rules.learning, veto).complete
            or not judge(key, evidence, rules.learning, veto, self._spent(key.tenant, rules.learning.per_client)).complete
        ):
            return
        if self._book.full(key.tenant):
            logger.warning("a tenant has as many exclusions as it may", extra={"tenant": key.tenant, "host": key.host})
            return
        unsure = rules.learning.mode != "apply" or doubts(key, evidence, rules.learning)
        state = State.PROPOSED if unsure else State.ACTIVE
        until, text = now + rules.learning.ttl, reason(key, evidence)
        record = self._book.open(key, state, until, POLICY, state.value, text, evidence, rules.learning.retest)
        if record is not None:
            logger.info("an exclusion was learned", extra={"exclusion": record.id, "host": key.host, "state": state.value})

    def _spent(self, tenant: str, most: int) -> frozenset[str]:
        """Clients that have contributed to so many."""
        return frozenset(client for client, number in self._store.contributions(tenant).items() if number >= most)

    def _reconsider(self, standing: Record, evidence: Evidence, rules: TenantRules, now: float) -> None:
        """Newer evidence. What was proposed because of doubts holds once there are none."""
        key, text = standing.key, reason(standing.key, evidence)
        self._store.refresh(standing.id, evidence, text)
        if standing.state is not State.PROPOSED or rules.learning.mode != "apply" or doubts(key, evidence, rules.learning):
            return
        if judge(key, evidence, rules.learning, rules.veto(key.host)).complete:
            self._book.move(standing, State.ACTIVE, now + rules.learning.ttl, POLICY, State.ACTIVE.value, text)
