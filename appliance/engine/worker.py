"""One worker process: its listeners, its deadlines, and how it stops."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from appliance.domain.reason import Reason
from appliance.engine.deadlines import Deadlines
from appliance.engine.lanes import Reception
from appliance.engine.listener import Listener

logger = logging.getLogger(__name__)

LINGER = 10.0
"""Seconds that a connection may be idle before a worker that was replaced closes it. Whoever asks something within that time
is told with the answer that it was the last one; a connection closed at once could cross with a request."""


class Worker:
    """Serves until told to stop, then lets what is in progress finish."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        receptions: Sequence[Reception],
        deadlines: Deadlines,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        """``leave`` is called once, when this worker takes no new connections any more."""
        self._listeners = listeners
        self._receptions = receptions
        self._deadlines = deadlines
        self._leave = leave

    @property
    def active(self) -> int:
        return sum(listener.active for listener in self._listeners)

    async def run(self, stop: asyncio.Event, left: Callable[[], float], gentle: Callable[[], bool] = lambda: False) -> None:
        """``left``: seconds that open tasks still have, asked from when ``stop`` is set until they are over. ``gentle``: others
        have taken this worker's place, so that clients may find out by themselves; else idle connections are closed at once."""
        checking = asyncio.create_task(self._deadlines.run())
        for listener in self._listeners:
            listener.start()
        try:
            await stop.wait()
        finally:
            for listener in self._listeners:
                listener.stop()
            self._leave()
            await self._drain(left, gentle)
            checking.cancel()

    async def _drain(self, left: Callable[[], float], gentle: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        pending = {task for listener in self._listeners for task in listener.tasks}
        self._close_idle(LINGER if gentle() else 0.0, 0.0)
        while pending and (seconds := left()) > 0:
            _, pending = await asyncio.wait(pending, timeout=min(seconds, 0.2))
            self._close_idle(LINGER if gentle() else 0.0, loop.time() - began)
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

    def _close_idle(self, patience: float, passed: float) -> None:
        """Close what has carried nothing for ``patience`` seconds; ``passed``: since this worker began to leave."""
        for reception in self._receptions:
            for session in list(reception.sessions):
                if session.handler is None and not session.relaying:
                    if passed >= patience:
                        session.stream.close()
                elif session.handler is not None and session.handler.idle and session.handler.idle_for >= patience:
                    session.handler.abort(Reason.SHUTTING_DOWN)
