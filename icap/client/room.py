"""How much all held bodies of one worker may take together."""

from dataclasses import dataclass
from pathlib import Path

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason

MIB = 1024 * 1024


@dataclass(slots=True, eq=False)
class Room:
    """Budgets in bytes. ``directory`` None: no body goes to disk, and what does not fit into memory is refused."""

    memory: int = 64 * MIB
    disk: int = 4096 * MIB
    body_memory: int = MIB
    """What one body may keep in memory before it goes to a file."""
    directory: Path | None = None
    memory_used: int = 0
    disk_used: int = 0
    spilled: int = 0
    """Bodies that went to disk so far."""
    refused: int = 0
    """Bodies that found no room so far."""

    def take_memory(self, size: int, held: int = 0) -> bool:
        """Reserve ``size`` more bytes for a body that holds ``held`` already; False: it has to go to disk."""
        if held + size > self.body_memory or self.memory_used + size > self.memory:
            return False
        self.memory_used += size
        return True

    def take_disk(self, size: int) -> None:
        """Reserve.

        Raises:
            ScanError: RESOURCE_EXHAUSTED, the disk's budget is used up, or there is none.
        """
        if self.directory is None or self.disk_used + size > self.disk:
            self.refused += 1
            raise ScanError(Reason.RESOURCE_EXHAUSTED, "no room to hold the body for its scan")
        self.disk_used += size

    def give_back(self, memory: int, disk: int) -> None:
        self.memory_used -= memory
        self.disk_used -= disk
