"""Deadlines of connections, checked by one task per worker instead of one timer per wait.

A thousand idle connections cost a thousand comparisons every half second; a timer each would cost a heap operation
for every byte that arrives.
"""

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between checks: a deadline is kept to within this."""


class Expiring(Protocol):
    def check_deadline(self, now: float) -> None:
        """Called every half second with the loop's time; ends the connection when its phase took too long."""


class Deadlines:
    def __init__(self) -> None:
        self._watched: set[Expiring] = set()

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, item: Expiring) -> None:
        self._watched.add(item)

    def discard(self, item: Expiring) -> None:
        self._watched.discard(item)

    async def run(self) -> None:
        """Check for ever; cancel to stop. A check that raises is logged and does not stop the others."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(INTERVAL)
            now = loop.time()
            for item in list(self._watched):
                try:
                    item.check_deadline(now)
                except Exception:
                    logger.exception("deadline check failed")
                    self._watched.discard(item)
