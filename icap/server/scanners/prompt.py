"""Scans of small bodies that are here whole, on a kept connection and without a task: callbacks only.

A task, its wake-ups and its deadlines cost more than such a scan. Whatever does not go as it nearly always does is done by the
general way, which decides what is an error: both always agree.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable

from appliance.domain.reason import Reason
from icap.server.scanners.clamd_node import ClamdNode
from icap.server.scanners.conversation import Conversation
from icap.server.scanners.instream import Answer
from icap.server.scanners.scanner import Cancel, ScanOutcome, ScanResult, Told

logger = logging.getLogger(__name__)

type General = Callable[[bytes, float], Awaitable[ScanResult]]
"""The general way with a whole body, and the seconds it may take."""
type Finished = Callable[[Answer, float, int, str], ScanResult]
"""The result of an answer: with the seconds that it took, and size and SHA-256 of the body."""


class PromptScan:
    """One body. ``told`` is called once and never from within ``begin``, unless ``cancel`` was called."""

    __slots__ = (
        "_body",
        "_deadline",
        "_dropped",
        "_finished",
        "_general",
        "_kept",
        "_loop",
        "_node",
        "_started",
        "_task",
        "_timer",
        "_told",
    )

    def __init__(self, node: ClamdNode, body: bytes, told: Told, finished: Finished, general: General) -> None:
        self._node = node
        self._body = body
        self._told = told
        self._finished = finished
        self._general = general
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._kept: Conversation | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._dropped = False

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._dropped = True
        self._end_timer()
        if self._task is not None:
            self._task.cancel()
        elif not self._give_up():
            self._node.withdraw(self._ready)

    def begin(self, timeout: float) -> Cancel | None:
        """``timeout`` in seconds, for slot and answer together. None: no connection is at hand, and nothing was begun."""
        node = self._node
        if node.take_now():
            self._kept = node.sessions.at_hand(self._body)
            if self._kept is None:
                node.release()
                return None
            self._ask(self._kept)
        else:
            node.wait(self._ready)
        self._deadline = self._started + timeout
        self._timer = self._loop.call_at(self._deadline, self._expire)
        return self.cancel

    def _ready(self) -> None:
        """There is a slot."""
        self._kept = self._node.sessions.at_hand(self._body)
        if self._kept is None:
            self._fall_back()
        else:
            self._ask(self._kept)

    def _ask(self, kept: Conversation) -> None:
        try:
            self._node.sessions.begin(kept, self._body, self._answered)
        except OSError as error:
            logger.info("a scan is made the general way: %s", error)
            self._answered(None)

    def _answered(self, answer: Answer | None) -> None:
        kept, self._kept = self._kept, None
        if kept is None:
            return  # cancelled, or too late
        self._node.sessions.give_back(kept, answer)
        if answer is None:
            self._node.sessions.refuse_files()
            self._fall_back()
            return
        self._end_timer()
        self._node.verdict()
        self._node.release()
        self._tell(answer)

    def _tell(self, answer: Answer) -> None:
        body = self._body
        self._told(self._finished(answer, self._loop.time() - self._started, len(body), hashlib.sha256(body).hexdigest()))

    def _fall_back(self) -> None:
        # Not from here: the next that waits may fare no better, and so on for all of them.
        self._loop.call_soon(self._begin_general)

    def _begin_general(self) -> None:
        self._node.release()
        if self._dropped:
            return
        left = self._deadline - self._loop.time()
        self._end_timer()
        self._task = self._loop.create_task(self._generally(left))

    async def _generally(self, left: float) -> None:
        try:
            result = await self._general(self._body, left)
        except Exception as error:
            logger.exception("a scan failed")
            result = ScanResult(ScanOutcome.ERROR, reason=Reason.SCANNER_ERROR, detail=type(error).__name__)
        self._told(result)

    def _expire(self) -> None:
        if self._give_up():
            self._node.sessions.refuse_files()
            self._fail("clamd did not finish in time")
        elif self._node.withdraw(self._ready):
            self._fail("no free slot")
        # otherwise the general way begins in this turn of the loop, without any time left

    def _fail(self, detail: str) -> None:
        self._node.failed()
        self._tell(Answer(ScanOutcome.ERROR, reason=Reason.SCANNER_TIMEOUT, detail=detail))

    def _give_up(self) -> bool:
        """Whether clamd was asked, and its answer is not waited for any more."""
        kept, self._kept = self._kept, None
        if kept is None:
            return False
        kept.close()
        self._node.release()
        return True

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
