"""What a person can do about quarantined bodies. Each step stands in the audit stream before it is taken, with the reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from appliance.domain.act import Act, Actor
from appliance.domain.clock import Clock
from appliance.domain.ids import new_task_id
from appliance.domain.quarantine import Item, QuarantineError
from appliance.quarantine.cabinet import Cabinet
from appliance.quarantine.keeper import Tell
from appliance.quarantine.sealed_file import SealedFile
from appliance.quarantine.store import QuarantineStore

MAX_REASON: Final = 300


class QuarantineDesk:
    """All of this may block, and raises QuarantineError for what may not be or is not there. A body is found by its id and its
    tenant: nobody gets to one of another tenant."""

    def __init__(self, store: QuarantineStore, tell: Tell, clock: Clock) -> None:
        self._store = store
        self._tell = tell
        self._clock = clock

    def items(self, tenant: str | None = None) -> list[Item]:
        """Newest first."""
        return sorted(self._items(tenant), key=lambda item: item.at, reverse=True)

    def get(self, tenant: str, item_id: str) -> Item:
        return self._store.cabinet(tenant).item(item_id)

    def tenant_of(self, item_id: str) -> str:
        """Who has a body of this id: for who may see all tenants."""
        for tenant in self._store.tenants():
            if any(stored.id == item_id for stored in self._store.cabinet(tenant).stored()):
                return tenant
        raise QuarantineError(f"there is no quarantined body {item_id[:64]!r}", "`arcus quarantine list` shows them")

    @contextmanager
    def release(self, tenant: str, item_id: str, actor: Actor, reason: str) -> Iterator[SealedFile]:
        """The body, to be given to a person. It has been read to its end: what is damaged is not given out at all.

        Raises:
            Damaged: not a byte of it may be used.
            OSError, ArcusError: the audit stream cannot be told, so that nothing is given out.
        """
        note = _reason(reason)
        with self._store.cabinet(tenant).open(item_id) as opened:
            opened.verify()
            act = self._act(opened.item, actor, "released", note)
            self._tell([act])
            try:
                yield opened
            except Exception as error:
                self._tell([replace(act, id=new_task_id(), failed=str(error) or type(error).__name__)])
                raise

    def delete(self, tenant: str, item_id: str, actor: Actor, reason: str) -> Item:
        """For good. Raises also OSError and ArcusError: the audit stream cannot be told, and nothing was deleted."""
        note = _reason(reason)
        cabinet = self._store.cabinet(tenant)
        item = cabinet.item(item_id)
        self._tell([self._act(item, actor, "deleted", note)])
        cabinet.remove(item_id)
        return item

    def _items(self, tenant: str | None) -> Iterator[Item]:
        for name in self._store.tenants() if tenant is None else [tenant]:
            yield from _all(self._store.cabinet(name))

    def _act(self, item: Item, actor: Actor, verb: str, note: str) -> Act:
        return Act(new_task_id(), self._clock.now(), item.tenant, actor, "quarantine", item.id, verb, note, item.host)


def _all(cabinet: Cabinet) -> Iterator[Item]:
    for stored in cabinet.stored():
        try:
            yield cabinet.item(stored.id)
        except QuarantineError:
            continue  # deleted meanwhile


def _reason(text: str) -> str:
    note = text.strip()
    if not note:
        raise QuarantineError("a reason is needed", "it stands in the audit stream with who decided")
    if len(note) > MAX_REASON:
        raise QuarantineError(f"the reason is longer than {MAX_REASON} characters", "shorten it")
    return note
