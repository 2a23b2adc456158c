"""What is too old or too much is deleted, the oldest first, and the audit stream is told before."""

from collections.abc import Iterator

from appliance.config.quarantine import Quarantine
from appliance.domain.act import Act
from appliance.domain.clock import Clock
from appliance.domain.ids import new_task_id
from appliance.domain.quarantine import QuarantineError
from appliance.quarantine.cabinet import Bounds, Cabinet, Stored
from appliance.quarantine.keeper import ITSELF, Tell
from appliance.quarantine.store import QuarantineStore

EXPIRED, DISPLACED = "expired", "displaced"


def prune(store: QuarantineStore, tenant: str, limits: Quarantine, tell: Tell, clock: Clock) -> dict[str, int]:
    """How many were deleted, by why: ``expired`` or ``displaced``. Raises OSError and ArcusError; then the rest stays."""
    cabinet = store.cabinet(tenant)
    cabinet.sweep()
    gone = list(surplus(cabinet.stored(), limits, clock.now()))
    tell([_act(cabinet, stored, why, clock.now()) for stored, why in gone])
    for stored, _ in gone:
        try:
            cabinet.remove(stored.id)
        except QuarantineError:
            continue  # a person was faster
    return {why: sum(1 for _, each in gone if each == why) for why in (EXPIRED, DISPLACED)}


def surplus(stored: list[Stored], limits: Bounds, now: float) -> Iterator[tuple[Stored, str]]:
    """What has to go of files that are given the oldest first, and why: ``expired`` or ``displaced``."""
    items, size = len(stored), sum(each.size for each in stored)
    for each in stored:
        if each.at < now - limits.max_age:
            yield each, EXPIRED
        elif items > limits.max_items or size > limits.max_total:
            yield each, DISPLACED
        else:
            return
        items, size = items - 1, size - each.size


def _act(cabinet: Cabinet, stored: Stored, why: str, now: float) -> Act:
    try:
        item = cabinet.item(stored.id)
        host, note = item.host, item.signature
    except QuarantineError:
        host = note = ""
    return Act(new_task_id(), now, cabinet.tenant, ITSELF, "quarantine", stored.id, why, note, host)
