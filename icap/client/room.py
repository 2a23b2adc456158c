"""How much all held bodies of one worker may take together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason

MIB = 1024 * 1024
_GREED: Final = 3
"""How many times what it leaves free one part may take: three quarters when it is alone, and never all."""


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
    whole: "Room | None" = None
    """What this is a part of."""

    def part(self) -> "Room":
        """For one of several who share it: whatever one of them takes, there is something left for the next."""
        return Room(self.memory, self.disk, self.body_memory, self.directory, whole=self)

    def reserve(self, size: int) -> bool:
        """Take memory; False: there is not so much."""
        used = self.memory_used if self.whole is None else self.whole.memory_used
        if not self._fits(size, self.memory_used, self.memory - used):
            return False
        self._add(size, 0)
        return True

    def take_memory(self, size: int, held: int = 0) -> bool:
        """Reserve ``size`` more bytes for a body that holds ``held`` already; False: it has to go to disk."""
        return held + size <= self.body_memory and self.reserve(size)

    def take_disk(self, size: int) -> None:
        """Reserve.

        Raises:
            ScanError: RESOURCE_EXHAUSTED, the disk's budget is used up, or there is none.
        """
        used = self.disk_used if self.whole is None else self.whole.disk_used
        if self.directory is None or not self._fits(size, self.disk_used, self.disk - used):
            (self.whole or self).refused += 1
            raise ScanError(Reason.RESOURCE_EXHAUSTED, "no room to hold the body for its scan")
        self._add(0, size)

    def give_back(self, memory: int, disk: int) -> None:
        self._add(-memory, -disk)

    def went_to_disk(self) -> None:
        """Count a body."""
        (self.whole or self).spilled += 1

    def _fits(self, size: int, own: int, free: int) -> bool:
        left = free - size
        return left >= 0 and (self.whole is None or own + size <= _GREED * left)

    def _add(self, memory: int, disk: int) -> None:
        self.memory_used += memory
        self.disk_used += disk
        if self.whole is not None:
            self.whole._add(memory, disk)
