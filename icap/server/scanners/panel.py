"""Several scanners as one: each sees every byte as it arrives, and the strictest verdict counts."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from appliance.domain.reason import Reason
from icap.server.scanners.scanner import UNKNOWN, Grounds, Scanner, ScannerHealth, ScanOutcome, ScanResult, Subject

logger = logging.getLogger(__name__)

_STRICTNESS = (ScanOutcome.CLEAN, ScanOutcome.ERROR, ScanOutcome.BLOCKED, ScanOutcome.INFECTED)
"""What was found counts even where another scanner failed; a failure is never outvoted by those that found nothing."""


class Feed:
    """The pieces of a body for one of its readers: the writer waits while the reader has one piece in front of it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(1)

    async def put(self, piece: bytes) -> None:
        """Nothing once the reader has gone."""
        try:
            await self._queue.put(piece)
        except asyncio.QueueShutDown:
            return

    def end(self) -> None:
        self._queue.shutdown()

    def abandon(self) -> None:
        """The reader wants no more."""
        self._queue.shutdown(immediate=True)

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            try:
                yield await self._queue.get()
            except asyncio.QueueShutDown:
                return


@dataclass(frozen=True, slots=True)
class Seat:
    """A scanner of a panel under its name."""

    name: str
    scanner: Scanner


class Panel:
    """A ``Scanner`` made of scanners."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        """Raises ValueError without any."""
        if not seats:
            raise ValueError("a panel needs a scanner")
        self._seats = tuple(seats)

    @property
    def engine(self) -> str:
        return " + ".join(seat.scanner.engine for seat in self._seats if seat.scanner.engine)

    @property
    def fingerprint(self) -> str:
        return "\n".join(f"{seat.name}:{seat.scanner.fingerprint}" for seat in self._seats)

    @property
    def health(self) -> ScannerHealth:
        """Up when all are: without one of them there is no verdict."""
        told = [(seat.name, seat.scanner.health) for seat in self._seats]
        detail = "; ".join(f"{name}: {health.detail}" for name, health in told if health.detail)
        return ScannerHealth(all(health.up for _, health in told), self.engine, detail)

    @property
    def grounds(self) -> Grounds:
        return max(seat.scanner.grounds for seat in self._seats)

    async def start(self) -> None:
        await asyncio.gather(*(seat.scanner.start() for seat in self._seats))

    async def close(self) -> None:
        await asyncio.gather(*(seat.scanner.close() for seat in self._seats))

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        started = time.monotonic()
        feeds = [Feed() for _ in self._seats]
        scans = [_start(seat, feed, subject) for seat, feed in zip(self._seats, feeds, strict=True)]
        try:
            await _pour(chunks, feeds, scans)
            parts = await asyncio.gather(*scans)
        finally:
            for scan in scans:
                scan.cancel()
            await asyncio.wait(scans)
        return replace(strictest(parts), ms=round((time.monotonic() - started) * 1000, 3))


def strictest(parts: Sequence[ScanResult]) -> ScanResult:
    """The verdict of all: that of the strictest, with what the others know of the body. Raises ValueError without any."""
    verdict = max(parts, key=lambda part: _STRICTNESS.index(part.outcome))
    return replace(
        verdict,
        engine=" + ".join(part.engine for part in parts if part.engine),
        size=max(part.size for part in parts),
        sha256=next((part.sha256 for part in parts if part.sha256), ""),
        unscanned=", ".join(part.unscanned for part in parts if part.unscanned),
        parts=tuple(parts),
    )


def _start(seat: Seat, feed: Feed, subject: Subject) -> asyncio.Task[ScanResult]:
    scan = asyncio.get_running_loop().create_task(_guarded(seat, feed, subject))
    scan.add_done_callback(lambda _: feed.abandon())
    return scan


async def _guarded(seat: Seat, feed: Feed, subject: Subject) -> ScanResult:
    """An exception of one scanner is its error, and the others go on."""
    try:
        return replace(await seat.scanner.scan(feed.pieces(), subject), scanner=seat.name)
    except Exception as error:
        logger.exception("scanner %s failed", seat.name)
        detail = f"{seat.name}: {type(error).__name__}"
        return ScanResult(ScanOutcome.ERROR, reason=Reason.SCANNER_ERROR, detail=detail, scanner=seat.name)


async def _pour(chunks: AsyncIterator[bytes], feeds: Sequence[Feed], scans: Sequence[asyncio.Task[ScanResult]]) -> None:
    """Each piece to all, the slowest setting the pace. Ends early when nobody reads any more."""
    async for piece in chunks:
        for feed in feeds:
            await feed.put(piece)
        if all(scan.done() for scan in scans):
            return
    for feed in feeds:
        feed.end()
