"""One worker process: its listeners, its deadlines, and how it stops."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from appliance.domain.reason import Reason
from appliance.engine.deadlines import Deadlines
from appliance.engine.lanes import Reception
from appliance.engine.listener import Listener

logger = logging.getLogger(__name__)


class Worker:
    """Serves until told to stop, then lets what is in progress finish."""

    def __init__(self, listeners: Sequence[Listener], receptions: Sequence[Reception], deadlines: Deadlines) -> None:
        self._listeners = listeners
        self._receptions = receptions
        self._deadlines = deadlines

    @property
    def active(self) -> int:
        return sum(listener.active for listener in self._listeners)

    async def run(self, stop: asyncio.Event, drain: Callable[[], float]) -> None:
        """``drain``: seconds for open tasks, asked when ``stop`` is set; idle connections are closed at once."""
        checking = asyncio.create_task(self._deadlines.run())
        for listener in self._listeners:
            listener.start()
        try:
            await stop.wait()
        finally:
            for listener in self._listeners:
                listener.stop()
            await self._drain(drain())
            checking.cancel()

    async def _drain(self, seconds: float) -> None:
        self._close_idle()
        tasks = [task for listener in self._listeners for task in listener.tasks]
        pending = set(tasks)
        deadline = asyncio.get_running_loop().time() + seconds
        while pending and (left := deadline - asyncio.get_running_loop().time()) > 0:
            _, pending = await asyncio.wait(pending, timeout=min(left, 0.2))
            self._close_idle()
        if pending:
            logger.warning("%d connections cut at the end of the drain time", len(pending))
            self._cut()
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=1.0)  # less than the supervisor waits before it kills

    def _cut(self) -> None:
        """Give the reason first: to the layers a cancelled connection looks like a client that left."""
        for reception in self._receptions:
            for session in list(reception.sessions):
                if session.handler is not None:
                    session.handler.abort(Reason.SHUTTING_DOWN)

    def _close_idle(self) -> None:
        for reception in self._receptions:
            for session in list(reception.sessions):
                if session.handler is None and not session.relaying:
                    session.stream.close()
                elif session.handler is not None and session.handler.idle:
                    session.handler.abort(Reason.SHUTTING_DOWN)
