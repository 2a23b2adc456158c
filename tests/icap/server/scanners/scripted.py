"""Scanners that do what a test says, and bodies."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from icap.server.scanners.scanner import UNKNOWN, Grounds, ScannerHealth, ScanOutcome, ScanResult, Subject


@dataclass
class Scripted:
    """Reads ``read`` pieces (None: all), then gives ``result`` or raises."""

    result: ScanResult | Exception = field(default_factory=lambda: ScanResult(ScanOutcome.CLEAN))
    read: int | None = None
    gate: asyncio.Event | None = None
    """Waited for before each piece."""
    seen: bytes = b""
    engine: str = "Test/1"
    fingerprint: str = "1"
    grounds: Grounds = Grounds.BODY
    health: ScannerHealth = field(default_factory=lambda: ScannerHealth(up=True))
    cancelled: bool = False

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        try:
            return await self._scan(chunks)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def _scan(self, chunks: AsyncIterator[bytes]) -> ScanResult:
        count = 0
        while count != self.read:
            if self.gate is not None:
                await self.gate.wait()
            piece = await anext(chunks, None)
            if piece is None:
                break
            self.seen += piece
            count += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def cut(body: bytes, sizes: Iterable[int]) -> AsyncIterator[bytes]:
    """``body`` in pieces of these sizes, the rest as one."""
    at = 0
    for size in sizes:
        if body[at : at + size]:
            yield body[at : at + size]
        at += size
    if body[at:]:
        yield body[at:]
