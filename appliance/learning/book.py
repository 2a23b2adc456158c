"""The book of exclusions: what a person decides and what is learned is entered here, each step with who took it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.domain.act import Actor
from appliance.domain.clock import Clock
from appliance.domain.exclusion import State
from appliance.domain.ids import new_task_id
from appliance.domain.learning import Entry, Evidence, Key, Record
from appliance.learning.tenants import TenantRules
from appliance.storage.exclusions import ExclusionStore


@dataclass(frozen=True, slots=True)
class Book:
    """Every method raises StoreError."""

    store: ExclusionStore
    tenants: Mapping[str, TenantRules]
    clock: Clock
    new_id: Callable[[], str] = new_task_id

    def full(self, tenant: str) -> bool:
        """The tenant has as many that are not over as it may have."""
        rules = self.tenants.get(tenant)
        return rules is None or self.store.count_open(tenant) >= rules.learning.max_entries

    def open(
        self, key: Key, state: State, until: float, actor: Actor, verb: str, reason: str, evidence: Evidence, retest: int = 0
    ) -> Record | None:
        """A new one; None when one stands for its key already."""
        now = self.clock.now()
        record = Record(self.new_id(), key, state, reason, retest, now, now, str(actor), until, evidence)
        entry = Entry(record.id, now, actor, verb, reason, self.new_id(), until)
        return record if self.store.add(record, entry) else None

    def move(self, record: Record, state: State, until: float, actor: Actor, verb: str, note: str = "") -> bool:
        """Another state, or another end; False when somebody else was first."""
        entry = Entry(record.id, self.clock.now(), actor, verb, note, self.new_id(), until)
        return self.store.decide(record.id, record.state, state, until, entry)
