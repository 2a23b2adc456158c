"""Kept connections to clamd, for bodies that are here whole: to connect for each costs both sides more than the scan of a
small body.

A verdict counts only when it has the number of its question, and there is one question at a time on a connection. Whatever
else happens is no answer: the connection is closed, and the body is scanned again on one of its own.
"""

import logging
from collections.abc import Callable

from appliance.domain.clock import Clock
from icap.server.scanners.conversation import Conversation
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.instream import Answer

logger = logging.getLogger(__name__)

FRESH = 2.0
"""Seconds that a connection may have been idle: clamd closes it after its CommandReadTimeout, 5 by default at the least."""
MOST_USES = 1000
RECONSIDER = 60.0
"""Seconds without files after one came to nothing."""
LONGEST_WRITE = 16 * 1024
"""Bytes that an empty socket takes in one write."""


class Sessions:
    """The idle connections to one clamd, the one used last first. As many as there were scans at one time."""

    def __init__(self, endpoint: Endpoint, clock: Clock, *, files: bool = True) -> None:
        """``files``: pass bodies as files where that is possible."""
        self._endpoint = endpoint
        self._clock = clock
        self._idle: list[Conversation] = []
        self._files_from = 0.0 if files and endpoint.path else float("inf")  # only unix sockets carry them

    async def scan(self, body: bytes) -> Answer | None:
        """clamd's verdict; None when there is none, for whatever reason. Raises OSError when it cannot be reached."""
        kept = self._take() or Conversation(await self._endpoint.connect())
        answer = None
        try:
            answer = await self._ask(kept, body)
        finally:
            self.give_back(kept, answer)
        return answer

    def at_hand(self, body: bytes) -> Conversation | None:
        """A kept connection for ``Conversation.begin`` with ``body``; None when there is none on which it needs no waiting.
        ``give_back`` it."""
        kept = self._take()
        if kept is None:
            return None
        if kept.takes_files if self._by_file else len(body) <= LONGEST_WRITE:
            return kept
        self._idle.append(kept)
        return None

    def begin(self, kept: Conversation, body: bytes, told: Callable[[Answer | None], None]) -> None:
        """Ask on one that was ``at_hand``. ``told`` and OSError: as ``Conversation.begin``."""
        kept.begin(body, told, by_file=self._by_file)

    @property
    def _by_file(self) -> bool:
        return self._clock.monotonic() >= self._files_from

    def give_back(self, kept: Conversation, answer: Answer | None) -> None:
        """``answer``: of the question that was asked last."""
        if answer is None or kept.used >= MOST_USES:
            kept.close()
        else:
            kept.since = self._clock.monotonic()
            self._idle.append(kept)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def refuse_files(self) -> None:
        """One came to nothing: for a while bodies are streamed."""
        if self._files_from <= (now := self._clock.monotonic()):
            logger.info("clamd at %s took no file: bodies are streamed to it", self._endpoint)
            self._files_from = now + RECONSIDER

    async def _ask(self, kept: Conversation, body: bytes) -> Answer | None:
        if not (body and kept.used and self._by_file):
            return await kept.scan(body)
        if not kept.takes_files:
            await kept.try_files()
        answer = await kept.scan_file(body) if kept.takes_files else None
        if answer is None:
            self.refuse_files()
        return answer

    def _take(self) -> Conversation | None:
        while self._idle:
            kept = self._idle.pop()
            if self._clock.monotonic() - kept.since < FRESH and kept.silent:
                return kept
            kept.close()
        return None
