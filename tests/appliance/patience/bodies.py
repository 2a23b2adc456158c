"""What tests of downloads stand on."""

import io
from dataclasses import dataclass, field
from hashlib import sha256
from typing import BinaryIO

from appliance.config.patience import Patience
from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from appliance.patience.download import Download, Label
from appliance.patience.shelf import Shelf
from appliance.patience.ticket import Asking

ALICE = Asking("acme", "192.0.2.7", "alice", "https", "files.test", 443)
CONFIG = Patience(grace=10, keep=100, per_client=2, per_tenant=3)


@dataclass
class Held:
    """A body that arrives when the test says so."""

    data: bytes = b""
    ended: bool = False
    pressed: bool = False
    closed: bool = False

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return sha256(self.data).hexdigest()

    def copy(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def close(self) -> None:
        self.closed = True


@dataclass
class Task:
    """``full``: no record can be written."""

    records: list[tuple[Reason, int]] = field(default_factory=list)
    cancelled: int = 0
    full: bool = False

    def cancel(self) -> None:
        self.cancelled += 1

    def record(self, reason: Reason, detail: str, sent: int) -> None:
        if self.full:
            raise OSError("the spool is full")
        self.records.append((reason, sent))


class Place:
    """A shelf with a clock."""

    def __init__(self, config: Patience = CONFIG) -> None:
        self.clock = ManualClock()
        self.shelf = Shelf(self.clock)
        self.config = config

    def begin(self, asking: Asking = ALICE, body: Held | None = None) -> tuple[Download, Held, Task]:
        found = self.try_begin(asking, body)
        assert found is not None
        return found

    def try_begin(self, asking: Asking = ALICE, body: Held | None = None) -> tuple[Download, Held, Task] | None:
        held, task = body or Held(), Task()
        label = Label("big.iso", "https://files.test/big.iso", 1000)
        download = self.shelf.begin(asking, label, held, task, self.config)
        return None if download is None else (download, held, task)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.shelf.check()
