"""The clamd scanner: bodies over INSTREAM as they arrive, to one of several clamds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import replace

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.reason import Reason
from icap.server.scanners.body import ScannedBody
from icap.server.scanners.clamd_node import ClamdNode
from icap.server.scanners.clamd_settings import ClamdSettings
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.instream import FRAME, WHOLE, Answer, Instream
from icap.server.scanners.prompt import PromptScan
from icap.server.scanners.scanner import UNKNOWN, Cancel, Grounds, ScannerHealth, ScanOutcome, ScanResult, Subject, Told

__all__ = ["ClamdScanner", "ClamdSettings"]

_ENCRYPTED = "Heuristics.Encrypted."
_LIMITS = "Heuristics.Limits.Exceeded"
_GONE = frozenset((Reason.SCANNER_UNREACHABLE, Reason.SCANNER_ERROR))


class _Budget:
    """Seconds that are left of a sum of waits, each of which is cut off where the sum ends."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._left = seconds
        self._clock = clock

    async def spend[T](self, step: Awaitable[T], most: float = float("inf")) -> T:
        """Raises TimeoutError."""
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(max(min(self._left, most), 0.0)):
                return await step
        finally:
            self._left -= self._clock.monotonic() - started


class ClamdScanner:
    """A ``Scanner`` on clamds that somebody else runs. They are asked in turn, the idle before the busy, and one that is
    down or has just failed only when there is no other. What fails before more than one frame of a body is here is asked of
    the next; a longer body cannot be sent twice, and its scan is an error."""

    def __init__(
        self, endpoints: Endpoint | Sequence[Endpoint], settings: ClamdSettings | None = None, clock: Clock | None = None
    ) -> None:
        self._settings = settings or ClamdSettings()
        self._clock = clock or SystemClock()
        listed = (endpoints,) if isinstance(endpoints, Endpoint) else tuple(endpoints)
        self._nodes = [ClamdNode(endpoint, self._settings, self._clock) for endpoint in listed]
        self._turn = 0
        self._fingerprint: tuple[list[str], str] = ([], "")
        """What it was made from, and what it is: every answer has it."""
        self._watcher: asyncio.Task[None] | None = None

    @property
    def engine(self) -> str:
        return next((node.engine for node in self._nodes if node.engine and not node.suspect), self._nodes[0].engine)

    @property
    def fingerprint(self) -> str:
        """The same in every process that has asked: a clamd that is down does not count where others have its version."""
        versions = [node.version for node in self._nodes]
        if versions != self._fingerprint[0]:
            settings, known = self._settings, "+".join(sorted({version for version in versions if version}))
            text = f"{known}|{settings.database}|{settings.max_size}|{settings.block_encrypted}"
            self._fingerprint = (versions, text)
        return self._fingerprint[1]

    @property
    def health(self) -> ScannerHealth:
        up = [node for node in self._nodes if node.health.up]
        down = [f"{node.endpoint}: {node.health.detail}" for node in self._nodes if not node.health.up]
        if len(self._nodes) == 1:
            return self._nodes[0].health
        return ScannerHealth(up=bool(up), engine=self.engine, detail="; ".join(down))

    @property
    def grounds(self) -> Grounds:
        return Grounds.BODY

    async def start(self) -> None:
        await self.refresh()
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None
        for node in self._nodes:
            node.sessions.close()

    async def reload(self) -> None:
        """Have all clamds read their databases again; new versions show within ``refresh`` seconds. Raises DaemonError."""
        await asyncio.gather(*(node.reload() for node in self._nodes))

    async def refresh(self) -> None:
        await asyncio.gather(*(node.refresh() for node in self._nodes))

    def begin(self, body: bytes, told: Told) -> Cancel | None:
        node, settings = self._nodes[0], self._settings
        if len(self._nodes) > 1 or node.suspect or not settings.sessions or not 0 < len(body) <= min(WHOLE, node.limit):
            return None
        return PromptScan(node, body, told, self._result, self._scan_whole).begin(settings.timeout)

    async def _scan_whole(self, body: bytes, seconds: float) -> ScanResult:
        return await self._scan(_alone(body), seconds)

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        return await self._scan(chunks, self._settings.timeout)

    async def _scan(self, chunks: AsyncIterator[bytes], seconds: float) -> ScanResult:
        started = self._clock.monotonic()
        body = ScannedBody(chunks, max(node.limit for node in self._nodes))
        answer, engine = await self._converse(body, seconds)
        if body.oversize:
            answer = _failed(Reason.BODY_TOO_LARGE, f"more than {max(node.limit for node in self._nodes)} bytes")
        return self._result(answer, self._clock.monotonic() - started, body.size, body.sha256, engine)

    def _result(self, answer: Answer, seconds: float, size: int, sha256: str, engine: str = "") -> ScanResult:
        result = ScanResult(
            outcome=answer.outcome,
            signature=answer.signature,
            engine=engine or self.engine,
            ms=round(seconds * 1000, 3),
            size=size,
            sha256=sha256,
            reason=answer.reason,
            detail=answer.detail,
            scanner=self._settings.name,
        )
        return self._by_policy(result) if result.outcome is ScanOutcome.INFECTED else result

    def _by_policy(self, result: ScanResult) -> ScanResult:
        """clamd calls a find what it could not look into. It says so only when it found nothing else."""
        if result.signature.startswith(_LIMITS):
            return replace(result, outcome=ScanOutcome.BLOCKED, reason=Reason.NOT_SCANNABLE)
        if not result.signature.startswith(_ENCRYPTED):
            return result
        if self._settings.block_encrypted:
            return replace(result, outcome=ScanOutcome.BLOCKED, reason=Reason.ENCRYPTED_CONTENT)
        return replace(result, outcome=ScanOutcome.CLEAN, signature="", unscanned="encrypted", detail=result.signature)

    async def _converse(self, body: ScannedBody, seconds: float) -> tuple[Answer, str]:
        # Read before a slot is taken: a body that dribbles in holds neither slot nor connection for its first frame.
        first = await body.frame(WHOLE)
        if first is None:
            return _OVERSIZE, ""
        budget = _Budget(seconds, self._clock)
        answer, engine = _NOTHING, ""
        for node in self._order():
            answer = await self._with_slot(node, first, body, budget)
            await _learn(node, answer)
            engine = node.engine
            if answer.reason not in _GONE or body.given > 1:
                break
        return answer, engine

    def _order(self) -> list[ClamdNode]:
        if len(self._nodes) == 1:
            return self._nodes
        self._turn += 1
        turn = self._turn % len(self._nodes)
        return sorted(self._nodes[turn:] + self._nodes[:turn], key=lambda node: (node.suspect, node.busy))

    async def _with_slot(self, node: ClamdNode, first: bytes, body: ScannedBody, budget: _Budget) -> Answer:
        try:
            await (budget.spend(node.take()) if node.full else node.take())
        except TimeoutError:
            return _failed(Reason.SCANNER_TIMEOUT, "no free slot")
        try:
            if self._settings.sessions and body.ended and (answer := await _in_session(node, first, budget)) is not None:
                return answer
            return await self._on_connection(node.endpoint, first, body, budget)
        finally:
            node.release()

    async def _on_connection(self, endpoint: Endpoint, first: bytes, body: ScannedBody, budget: _Budget) -> Answer:
        try:
            most = self._settings.connect_timeout if len(self._nodes) > 1 else float("inf")
            sock = await budget.spend(endpoint.connect(), most)
        except TimeoutError:
            reason = Reason.SCANNER_UNREACHABLE if len(self._nodes) > 1 else Reason.SCANNER_TIMEOUT
            return _failed(reason, f"connecting to {endpoint}")
        except OSError as error:
            return _failed(Reason.SCANNER_UNREACHABLE, str(error))
        stream = Instream(sock)
        try:
            return await _send(stream, first, body, budget)
        finally:
            stream.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.gather(*(node.learn_limit() for node in self._nodes))
            await asyncio.sleep(self._settings.refresh)
            await self.refresh()


async def _alone(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _learn(node: ClamdNode, answer: Answer) -> None:
    if answer.reason is Reason.SCANNER_UNREACHABLE:
        node.unreachable(answer.detail)
    elif answer.outcome is not ScanOutcome.ERROR:
        await node.answered()
    elif answer.reason is not Reason.BODY_TOO_LARGE:
        node.failed()


async def _in_session(node: ClamdNode, whole: bytes, budget: _Budget) -> Answer | None:
    """On a kept connection; None: that did not work, and a connection of its own will tell why."""
    try:
        return await budget.spend(node.sessions.scan(whole))
    except TimeoutError:
        node.sessions.refuse_files()
        return _failed(Reason.SCANNER_TIMEOUT, "clamd did not finish in time")
    except OSError:
        return None


async def _send(stream: Instream, frame: bytes, body: ScannedBody, budget: _Budget) -> Answer:
    """One frame behind the reader, so that the last frame, the end mark and (for small bodies) the command are one write."""
    while not body.ended and not stream.answered:
        failure = await _within(budget, stream.send(frame))
        if failure is not None:
            return failure
        # outside the budget and the handlers: what the body's source raises is not the scanner's failure
        following = await body.frame(FRAME)
        if following is None:
            return _OVERSIZE
        frame = following
    return await _within(budget, stream.finish(frame) if body.ended else stream.answer()) or _NOTHING


async def _within(budget: _Budget, step: Awaitable[Answer | None]) -> Answer | None:
    try:
        return await budget.spend(step)
    except TimeoutError:
        return _failed(Reason.SCANNER_TIMEOUT, "clamd did not finish in time")
    except OSError as error:
        return _failed(Reason.SCANNER_ERROR, str(error))


def _failed(reason: Reason, detail: str) -> Answer:
    return Answer(ScanOutcome.ERROR, reason=reason, detail=detail)


_OVERSIZE = _failed(Reason.BODY_TOO_LARGE, "larger than the limit")
_NOTHING = _failed(Reason.SCANNER_ERROR, "no answer")
