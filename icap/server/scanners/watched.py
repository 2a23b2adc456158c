"""Something that is made from files, and made again when they change: whole or not at all."""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from appliance.files import stamp
from icap.server.scanners.scanner import ScannerHealth

logger = logging.getLogger(__name__)

type Stamps = tuple[tuple[str, tuple[int, ...]], ...]


class Flawed(Exception):
    """What is wrong with the files, for a person: ``file:line: what``."""


class Unread(Flawed):
    """A file cannot be read now. That may end without a sign of it in the file: it is tried again at each look."""


class Watched[T]:
    """``load`` runs in a thread and raises Flawed, or OSError; what was made before then stays in use, and health says so.
    ``files`` lists what it is made from now, and is asked at each look."""

    def __init__(self, name: str, files: Callable[[], list[Path]], load: Callable[[], T], refresh: float) -> None:
        """``refresh``: seconds between looks."""
        self._name = name
        self._files = files
        self._load = load
        self._refresh = refresh
        self._seen: Stamps | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._busy = threading.Lock()
        self.value: T | None = None
        """None until the files were good once."""
        self.flaw = "not read yet"
        """What is wrong with the files as they are now; empty when nothing is."""

    async def start(self) -> None:
        """Read them, and begin to watch. That they are bad is no error here."""
        await self.look()
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None

    def health(self, engine: str) -> ScannerHealth:
        return ScannerHealth(self.value is not None, engine, self.flaw)

    async def look(self) -> None:
        """Read them again if they changed. They may change while they are read: then the next look reads them once more."""
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        with self._busy:
            try:
                seen = tuple((str(file), stamp(file)) for file in self._files())
                if seen != self._seen:
                    self._seen = seen
                    self.value, self.flaw = self._load(), ""
                    logger.info("%s: %d file%s read", self._name, len(seen), "" if len(seen) == 1 else "s")
            except (Flawed, OSError) as error:
                if isinstance(error, Unread | OSError):
                    self._seen = None
                self._bad(str(error))

    def _bad(self, flaw: str) -> None:
        """Said once for each change."""
        if flaw != self.flaw:
            kept = "what was read before stays in use" if self.value is not None else "there is nothing to judge by"
            logger.error("%s: %s; %s", self._name, flaw, kept)
        self.flaw = flaw

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._refresh)
            await self.look()
