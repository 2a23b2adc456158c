"""The clamd scanner: bodies over INSTREAM as they arrive, the version beside them."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from dataclasses import dataclass

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.reason import Reason
from icap.server.scanners.daemon import Daemon, DaemonError
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.instream import FRAME, Answer, Instream
from icap.server.scanners.scanner import ScannerHealth, ScanOutcome, ScanResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClamdSettings:
    timeout: float = 30.0
    """Seconds that clamd may take of one scan, all waits for it together: slot, connect, write, answer.
    Waiting for the body is not in it; that is the ICAP connection's deadline."""
    concurrency: int = 8
    """Scans at once. Beyond clamd's MaxThreads more only wait there, where nobody sees the queue."""
    max_size: int = 25 * 1024 * 1024
    """Bytes. A larger body is an error, never clean. At most clamd's StreamMaxLength."""
    refresh: float = 5.0
    """Seconds between questions for the version."""
    database: str = ""
    """What to call the database when clamd states none (loose files), as ``eicar-only``."""


class _Budget:
    """Seconds that are left of a sum of waits, each of which is cut off where the sum ends."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._left = seconds
        self._clock = clock

    @contextlib.asynccontextmanager
    async def spend(self) -> AsyncIterator[None]:
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(max(self._left, 0.0)):
                yield
        finally:
            self._left -= self._clock.monotonic() - started


class _Body:
    """The bytes of a scan: counted and hashed as they pass, cut to frames."""

    def __init__(self, chunks: AsyncIterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._digest = hashlib.sha256()
        self.size = 0
        self.ended = False
        self.oversize = False

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest() if self.ended else ""

    async def frames(self) -> AsyncGenerator[bytes]:
        """Frames of exactly FRAME bytes, then a last one that may be shorter or empty. Stops early when over the limit."""
        buffer = bytearray()
        async for chunk in self._chunks:
            self._digest.update(chunk)
            self.size += len(chunk)
            if self.size > self._limit:
                self.oversize = True
                return
            buffer += chunk
            while len(buffer) > FRAME:
                yield bytes(buffer[:FRAME])
                del buffer[:FRAME]
        self.ended = True
        yield bytes(buffer)


class ClamdScanner:
    """A ``Scanner`` on a clamd that somebody else runs."""

    def __init__(self, endpoint: Endpoint, settings: ClamdSettings | None = None, clock: Clock | None = None) -> None:
        self._endpoint = endpoint
        self._settings = settings or ClamdSettings()
        self._clock = clock or SystemClock()
        self._daemon = Daemon(endpoint)
        self._slots = asyncio.Semaphore(self._settings.concurrency)
        self._version = ""
        self._health = ScannerHealth(up=False, detail="not asked yet")
        self._last_verdict = float("-inf")
        self._watcher: asyncio.Task[None] | None = None

    @property
    def engine(self) -> str:
        product, _, rest = self._version.partition("/")
        database = rest.partition("/")[0] or self._settings.database
        return f"{product}/{database}" if product and database else product

    @property
    def fingerprint(self) -> str:
        settings = self._settings
        return f"{self._version}|{settings.database}|{settings.max_size}"

    @property
    def health(self) -> ScannerHealth:
        return self._health

    async def start(self) -> None:
        await self.refresh()
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None

    async def reload(self) -> None:
        """Have clamd read its database again; the new version shows within ``refresh`` seconds. Raises DaemonError."""
        await asyncio.to_thread(self._daemon.reload)
        await self.refresh()

    async def refresh(self) -> None:
        """Ask for the version now. No answer keeps the old one, and a clamd that has just given a verdict is not down:
        with all threads busy it accepts nobody."""
        try:
            self._version = await asyncio.to_thread(self._daemon.version)
        except DaemonError as error:
            lively = self._clock.monotonic() - self._last_verdict < 2 * self._settings.refresh
            self._note(ScannerHealth(up=lively and not error.gone, engine=self.engine, detail=str(error)))
        else:
            self._note(ScannerHealth(up=True, engine=self.engine))

    async def scan(self, chunks: AsyncIterator[bytes]) -> ScanResult:
        started = self._clock.monotonic()
        body = _Body(chunks, self._settings.max_size)
        answer = await self._converse(body)
        if body.oversize:
            answer = _failed(Reason.BODY_TOO_LARGE, f"more than {self._settings.max_size} bytes")
        await self._learn(answer)
        return ScanResult(
            outcome=answer.outcome,
            signature=answer.signature,
            engine=self.engine,
            ms=round((self._clock.monotonic() - started) * 1000, 3),
            size=body.size,
            sha256=body.sha256,
            reason=answer.reason,
            detail=answer.detail,
        )

    async def _learn(self, answer: Answer) -> None:
        """A scan is the best sign of life; the first after a time without is told by which engine."""
        if answer.reason is Reason.SCANNER_UNREACHABLE:
            self._note(ScannerHealth(up=False, engine=self.engine, detail=answer.detail))
        elif answer.outcome is not ScanOutcome.ERROR:
            self._last_verdict = self._clock.monotonic()
            if not self._health.up:
                await self.refresh()

    async def _converse(self, body: _Body) -> Answer:
        budget = _Budget(self._settings.timeout, self._clock)
        frames = body.frames()
        try:
            # Read before a slot is taken: a body that dribbles in holds neither slot nor connection for its first frame.
            first = await anext(frames, None)
            if first is None:
                return _OVERSIZE
            return await self._with_slot(first, frames, body, budget)
        finally:
            await frames.aclose()

    async def _with_slot(self, first: bytes, frames: AsyncIterator[bytes], body: _Body, budget: _Budget) -> Answer:
        try:
            async with budget.spend():
                await self._slots.acquire()
        except TimeoutError:
            return _failed(Reason.SCANNER_TIMEOUT, "no free slot")
        try:
            return await self._on_connection(first, frames, body, budget)
        finally:
            self._slots.release()

    async def _on_connection(self, first: bytes, frames: AsyncIterator[bytes], body: _Body, budget: _Budget) -> Answer:
        try:
            async with budget.spend():
                sock = await self._endpoint.connect()
        except TimeoutError:
            return _failed(Reason.SCANNER_TIMEOUT, f"connecting to {self._endpoint}")
        except OSError as error:
            return _failed(Reason.SCANNER_UNREACHABLE, str(error))
        stream = Instream(sock)
        try:
            return await _send(stream, first, frames, body, budget)
        finally:
            stream.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.refresh)
            await self.refresh()

    def _note(self, health: ScannerHealth) -> None:
        if health.up != self._health.up:
            level = logging.INFO if health.up else logging.WARNING
            state = f"up, {health.engine}" if health.up else f"down, {health.detail}"
            logger.log(level, "clamd at %s: %s", self._endpoint, state)
        self._health = health


async def _send(stream: Instream, frame: bytes, frames: AsyncIterator[bytes], body: _Body, budget: _Budget) -> Answer:
    """One frame behind the reader, so that the last frame, the end mark and (for small bodies) the command are one write."""
    while not body.ended and not stream.answered:
        failure = await _within(budget, stream.send(frame))
        if failure is not None:
            return failure
        # outside the budget and the handlers: what the body's source raises is not the scanner's failure
        following = await anext(frames, None)
        if following is None:
            return _OVERSIZE
        frame = following
    return await _within(budget, stream.finish(frame) if body.ended else stream.answer()) or _NOTHING


async def _within(budget: _Budget, step: Awaitable[Answer | None]) -> Answer | None:
    try:
        async with budget.spend():
            return await step
    except TimeoutError:
        return _failed(Reason.SCANNER_TIMEOUT, "clamd did not finish in time")
    except OSError as error:
        return _failed(Reason.SCANNER_ERROR, str(error))


def _failed(reason: Reason, detail: str) -> Answer:
    return Answer(ScanOutcome.ERROR, reason=reason, detail=detail)


_OVERSIZE = _failed(Reason.BODY_TOO_LARGE, "larger than the limit")
_NOTHING = _failed(Reason.SCANNER_ERROR, "no answer")
