"""The parent's children: which generation of each kind serves, and which ones are leaving.

Each worker has its own SO_REUSEPORT socket per listener, made and kept by the parent. When a worker dies, connections
that the kernel has queued for it wait in its socket, and its successor takes them: none is reset. A new generation is
started on the same sockets, so a configuration is changed without a moment in which nobody accepts.
"""

import asyncio
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence

from appliance.engine.child import Child
from appliance.engine.generation import Ended, Generation

logger = logging.getLogger(__name__)

GRACE = 3.0
"""Seconds beyond the drain time before a child is killed."""
MAX_LEAVING = 4
"""Generations of one kind that may finish what they began; with one more, the oldest has to hurry."""
RETIRE = signal.SIGHUP
"""To a child: others serve now; accept nothing more, and let what is open end by itself."""


class Supervisor:
    """``ended`` is told of each process that has ended."""

    def __init__(self, environment: Mapping[str, str], ended: Ended) -> None:
        self.current: dict[str, Generation] = {}
        """By kind: the generation that serves."""
        self._environment = environment
        self._ended = ended
        self._leaving: dict[Generation, asyncio.Task[None]] = {}

    def generation(self, number: int, children: Sequence[Child]) -> Generation:
        return Generation(number, children, self._environment, self._ended)

    def generations(self) -> Iterator[Generation]:
        """Those that serve, then those that are leaving."""
        yield from self.current.values()
        yield from self._leaving

    def retire(self, kind: str, patience: float, hurry: float) -> asyncio.Task[None] | None:
        """The generation that serves leaves: within ``patience`` seconds, or ``hurry`` when too many are leaving. The task ends
        with its last process."""
        old = self.current.pop(kind, None)
        if old is None:
            return None
        others = [each for each in self._leaving if _kind(each) == kind]
        for oldest in others[: max(0, len(others) - MAX_LEAVING + 1)]:
            self._leave(oldest, signal.SIGTERM, hurry + GRACE)
        return self._leave(old, RETIRE, patience + GRACE)

    def _leave(self, generation: Generation, how: signal.Signals, patience: float) -> asyncio.Task[None]:
        if (before := self._leaving.get(generation)) is not None:
            before.cancel()
        task = asyncio.create_task(generation.leave(how, patience))
        self._leaving[generation] = task

        def gone(done: asyncio.Task[None]) -> None:
            if self._leaving.get(generation) is done:
                del self._leaving[generation]

        task.add_done_callback(gone)
        return task

    async def stop(self, how: signal.Signals, patience: float) -> None:
        """Signal all children, wait ``patience`` seconds, and kill those that are left."""
        tasks = [self._leave(generation, how, patience) for generation in list(self.generations())]
        self.current.clear()
        await asyncio.gather(*tasks)


def _kind(generation: Generation) -> str:
    return generation.children[0].kind if generation.children else ""
