"""A quarantine in a folder, with its audit stream in a list."""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.config.quarantine import Quarantine
from appliance.domain.act import Act, Actor, Via
from appliance.domain.clock import ManualClock
from appliance.domain.quarantine import Item, Keeping
from appliance.quarantine.cabinet import Cabinet
from appliance.quarantine.desk import QuarantineDesk
from appliance.quarantine.retention import prune
from appliance.quarantine.store import QuarantineStore
from certs import sealing

ALICE = Actor("alice", Via.COMMAND_LINE)


@dataclass
class Place:
    root: Path
    limits: Quarantine = field(default_factory=Quarantine)
    acts: list[Act] = field(default_factory=list)
    deaf: bool = False
    """The audit stream takes nothing."""
    clock: ManualClock = field(default_factory=ManualClock)
    keys: str = "keys"

    @property
    def store(self) -> QuarantineStore:
        return QuarantineStore(self.root / "quarantine", self.root / self.keys, sealing.load)

    @property
    def desk(self) -> QuarantineDesk:
        return QuarantineDesk(self.store, self.tell, self.clock)

    def tell(self, acts: Iterable[Act]) -> None:
        told = list(acts)
        if self.deaf and told:
            raise OSError("no room")
        self.acts += told

    def cabinet(self, tenant: str = "acme") -> Cabinet:
        """With a key, made when there is none."""
        file = self.store.key(tenant)
        file.parent.mkdir(parents=True, exist_ok=True)
        sealing.ensure(file)
        return self.store.cabinet(tenant)

    def item(self, body: bytes, tenant: str = "acme", **fields: Any) -> Item:
        digest = hashlib.sha256(body).hexdigest()
        known = {
            "task": "t1",
            "host": "bad.test",
            "signature": "Eicar",
            "user": "bob",
            "client": "10.0.0.7",
            "side": "response",
        }
        number = self.cabinet(tenant).name_of(digest)
        return Item(number, tenant, self.clock.now(), sha256=digest, size=len(body), **known | fields)

    def keep(self, body: bytes, tenant: str = "acme", **fields: Any) -> tuple[str, Keeping]:
        item = self.item(body, tenant, **fields)
        return item.id, self.cabinet(tenant).keep(item, io.BytesIO(body), self.limits)

    def file(self, item_id: str, tenant: str = "acme") -> Path:
        return self.root / "quarantine" / tenant / item_id

    def released(self, item_id: str, tenant: str = "acme") -> bytes:
        with self.desk.release(tenant, item_id, ALICE, "to look at it") as opened:
            return b"".join(opened.pieces())

    def prune(self, tenant: str = "acme") -> dict[str, int]:
        return prune(self.store, tenant, self.limits, self.tell, self.clock)

    def ids(self, tenant: str = "acme") -> list[str]:
        return [stored.id for stored in self.cabinet(tenant).stored()]
