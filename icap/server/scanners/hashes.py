"""The hash list scanner: bodies whose SHA-256 is listed are finds."""

import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from appliance.domain.reason import Reason
from icap.server.scanners.body import ScannedBody
from icap.server.scanners.hash_list import HashList, load
from icap.server.scanners.scanner import UNKNOWN, Grounds, ScannerHealth, ScanOutcome, ScanResult, Subject
from icap.server.scanners.watched import Watched


@dataclass(frozen=True, slots=True)
class HashSettings:
    files: tuple[Path, ...]
    max_entries: int = 1_000_000
    """Of all files together; more are a flaw, and the list before stays."""
    refresh: float = 2.0
    """Seconds between looks at the files."""
    name: str = "hashes"


@dataclass(frozen=True, slots=True)
class _Loaded:
    entries: HashList
    version: str
    """Of the entries, not of the files: the same in every process."""


class HashScanner:
    """A ``Scanner`` that knows bodies by their digest, of any size. Without a list it has no verdict."""

    def __init__(self, settings: HashSettings) -> None:
        self._settings = settings
        self._list: Watched[_Loaded] = Watched(settings.name, lambda: list(settings.files), self._load, settings.refresh)

    @property
    def engine(self) -> str:
        loaded = self._list.value
        return f"hashes/{len(loaded.entries)}.{loaded.version}" if loaded else ""

    @property
    def fingerprint(self) -> str:
        return self.engine

    @property
    def health(self) -> ScannerHealth:
        return self._list.health(self.engine)

    @property
    def grounds(self) -> Grounds:
        return Grounds.BODY

    async def start(self) -> None:
        await self._list.start()

    async def close(self) -> None:
        await self._list.close()

    async def reload(self) -> None:
        """Look at the files now."""
        await self._list.look()

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        loaded = self._list.value
        if loaded is None:
            return ScanResult(ScanOutcome.ERROR, reason=Reason.SCANNER_UNREACHABLE, detail=self._list.flaw)
        body = ScannedBody(chunks, limit=1 << 62)
        async for _ in body.pieces():
            continue
        started = time.monotonic()
        name = loaded.entries.find(body.digest)
        return ScanResult(
            ScanOutcome.CLEAN if name is None else ScanOutcome.INFECTED,
            signature=name or "",
            engine=self.engine,
            ms=round((time.monotonic() - started) * 1000, 3),
            size=body.size,
            sha256=body.sha256,
            scanner=self._settings.name,
        )

    def _load(self) -> _Loaded:
        entries = load(self._settings.files, self._settings.max_entries)
        digest = hashlib.sha256()
        for bucket in entries.buckets:
            digest.update(bucket)
        digest.update(entries.names)
        return _Loaded(entries, digest.hexdigest()[:8])
