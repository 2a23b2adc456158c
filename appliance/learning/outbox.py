"""The history of exclusions on its way into the audit stream: at least once, and always under the same id."""

from collections.abc import Callable, Iterable
from typing import Final

from appliance.domain.act import Act
from appliance.domain.learning import Entry, Key
from appliance.storage.exclusions import ExclusionStore

BATCH: Final = 500


class Outbox:
    """``tell`` puts acts into the spool, and raises OSError or an ArcusError when it cannot.

    A step is marked after it was told. A crash in between tells it again: the event store ignores an id that it has, and
    readers of the JSON lines do well to.
    """

    def __init__(self, store: ExclusionStore, tell: Callable[[Iterable[Act]], None]) -> None:
        self._store = store
        self._tell = tell

    def empty(self) -> None:
        """Everything that is in it now. Raises what ``tell`` raises, and StoreError: then the rest waits for the next call."""
        while steps := self._store.untold(BATCH):
            self._tell([_act(entry, key) for entry, key in steps])
            self._store.mark_told(entry for entry, _ in steps)


def _act(entry: Entry, key: Key) -> Act:
    return Act(
        entry.event_id, entry.at, key.tenant, entry.actor, "exclusion", entry.exclusion_id, entry.action, entry.note, key.host,
        key.fingerprint, entry.until,
    )  # fmt: skip
