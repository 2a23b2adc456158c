"""A copy of a body, for the client that wants it back: in memory while small, then in a temporary file."""

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.server.settings import ServerSettings

PIECE = 64 * 1024


@dataclass(slots=True)
class KeepBudget:
    """What bodies that are kept may hold together. Bytes."""

    memory: int
    """Of one body, before it goes to a file."""
    body: int
    total: int
    directory: Path | None = None
    used: int = 0

    @classmethod
    def of(cls, settings: ServerSettings) -> "KeepBudget":
        return cls(settings.keep_memory, settings.keep_body, settings.keep_total)


class Keep:
    """One copy. Use as a context manager: leaving gives the space back."""

    def __init__(self, budget: KeepBudget) -> None:
        self._budget = budget
        # Written and read in the event loop: 64 KiB into the page cache take less time than a hop to a thread.
        directory = str(budget.directory) if budget.directory else None
        self._file = tempfile.SpooledTemporaryFile(budget.memory, dir=directory)  # noqa: SIM115
        self.size = 0

    def __enter__(self) -> "Keep":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._budget.used -= self.size
        self.size = 0
        self._file.close()

    def add(self, data: bytes) -> None:
        """Raises ScanError when this body or all together are above their bound, or the disk is full."""
        size = len(data)
        if self.size + size > self._budget.body:
            raise ScanError(Reason.BODY_TOO_LARGE, f"more than {self._budget.body} bytes to keep")
        if self._budget.used + size > self._budget.total:
            raise ScanError(Reason.RESOURCE_EXHAUSTED, f"more than {self._budget.total} bytes kept")
        try:
            self._file.write(data)
        except OSError as error:
            raise ScanError(Reason.RESOURCE_EXHAUSTED, f"keeping a body: {error}") from error
        self.size += size
        self._budget.used += size

    async def pieces(self, start: int = 0) -> AsyncIterator[bytes]:
        """The copy from its byte ``start``."""
        self._file.seek(start)
        while data := self._file.read(PIECE):
            yield data


async def tee(chunks: AsyncIterator[bytes], keep: Keep) -> AsyncIterator[bytes]:
    """``chunks`` unchanged, each piece kept before it goes on."""
    async for data in chunks:
        keep.add(data)
        yield data
