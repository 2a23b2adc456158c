"""What the ledger asks of the lists of hashes that tenants have."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Hit:
    """``by``: the list's name, ``engine``: the list and its version."""

    signature: str
    by: str
    engine: str


class Lists(Protocol):
    """``find`` and ``version`` are asked in several threads, ``refresh`` in one."""

    @property
    def ready(self) -> bool:
        """The files have been looked at once."""

    def refresh(self) -> None:
        """Read what has changed. A file that cannot be read leaves the list as it was."""

    def version(self, tenant: str) -> str:
        """Another one when a tenant's lists say something else; empty where there are none."""

    def find(self, tenant: str, sha256: str) -> Hit | None: ...
