"""A generation: the processes of one kind that were started with one configuration. They come together, and go together."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence

from appliance.domain.errors import ArcusError
from appliance.engine.child import Child

logger = logging.getLogger(__name__)

BACKOFF = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the n-th start in a row; a child that has lived for a minute begins again at the first."""
LIVED = 60.0
TRIES = 3
"""Starts in a row after which a generation that was never ready is given up by whoever waits for it."""
OTHER_CODE = 69
"""Exit status of a child whose code is not that of its parent (EX_UNAVAILABLE of sysexits.h)."""

type Ended = Callable[[Child, int, bool], None]
"""Told of each process that has ended: its child, its process id, and whether it ended unasked."""


class NotReady(ArcusError):
    """Why the processes of a generation do not come up."""


class Generation:
    """``number`` is that of the configuration. Use from one event loop."""

    def __init__(self, number: int, children: Sequence[Child], environment: Mapping[str, str], ended: Ended) -> None:
        self.number = number
        self.children = list(children)
        self._environment = environment
        self._ended = ended
        self._begin = asyncio.Event()
        self._leaving = False
        self._hopeless: asyncio.Future[str] | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._pausing: set[asyncio.Future[None]] = set()

    @property
    def leaving(self) -> bool:
        return self._leaving

    @property
    def begun(self) -> bool:
        return self._begin.is_set()

    @property
    def ready(self) -> bool:
        return all(child.arrived.is_set() for child in self.children)

    def start(self) -> None:
        """Start every process, and again whenever it ends. They serve once ``begin`` is called."""
        self._hopeless = asyncio.get_running_loop().create_future()
        self._keepers = [asyncio.create_task(self._keep(child)) for child in self.children]

    def begin(self) -> None:
        self._begin.set()

    async def arrive(self, patience: float) -> None:
        """Wait until every process is ready.

        Raises:
            NotReady: one keeps ending, or is not ready within ``patience`` seconds.
        """
        assert self._hopeless is not None  # noqa: S101 - started first
        everyone = asyncio.ensure_future(asyncio.gather(*(child.arrived.wait() for child in self.children)))
        try:
            await asyncio.wait((everyone, self._hopeless), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if everyone.done():
                return
        finally:
            everyone.cancel()
            await asyncio.gather(everyone, return_exceptions=True)
        if self._hopeless.done():
            raise NotReady(self._hopeless.result())
        late = ", ".join(child.name for child in self.children if not child.arrived.is_set())
        raise NotReady(f"not ready within {patience:g} s: {late}")

    async def leave(self, how: signal.Signals, patience: float) -> None:
        """Signal every process, wait for their end, and kill what is left after ``patience`` seconds."""
        self._leaving = True
        if not self._begin.is_set():
            how = signal.SIGKILL  # it has served nobody, and holds nothing
        for pause in self._pausing:
            pause.cancel()
        if await self._gone(how, patience):
            return
        logger.warning("%s: not stopped in time, and killed", ", ".join(child.name for child in self.children if child.alive))
        await self._gone(signal.SIGKILL, 2.0)

    async def _gone(self, how: signal.Signals, patience: float) -> bool:
        """Signal each process once, also those that are being started at this moment. Whether all have ended in time."""
        loop = asyncio.get_running_loop()
        ends, told = loop.time() + patience, set[int]()
        pending = {keeper for keeper in self._keepers if not keeper.done()}
        while pending and (left := ends - loop.time()) > 0:
            for child in self.children:
                if child.process is not None and child.process.pid not in told:
                    told.add(child.process.pid)
                    child.signal(how)
            _, pending = await asyncio.wait(pending, timeout=min(left, 0.5))
        return not pending

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        while await self._pause(BACKOFF[min(child.starts, len(BACKOFF) - 1)]):
            started = loop.time()
            status = await self._live(child)
            self._ended(child, child.process.pid if child.process else 0, not self._leaving)
            if not self._leaving:
                child.restarts += 1
                child.starts = 1 if loop.time() - started > LIVED else child.starts + 1
                self._explain(child, status)

    async def _pause(self, seconds: float) -> bool:
        """Whether there is still a reason to go on."""
        pause = asyncio.ensure_future(asyncio.sleep(seconds))
        self._pausing.add(pause)
        await asyncio.wait((pause,))
        self._pausing.discard(pause)
        return not self._leaving

    async def _live(self, child: Child) -> int:
        try:
            return await child.live(self._environment, self._begin)
        except OSError as error:
            logger.error("%s cannot be started: %s", child.name, error)
            return -1

    def _explain(self, child: Child, status: int) -> None:
        if status == OTHER_CODE:
            cause = f"{child.name} cannot be started: Arcus was replaced on disk while it runs; restart it as a whole"
        else:
            cause = f"{child.name} ended with status {status}"
        logger.error("%s; it is started again", cause)
        never = not self._begin.is_set() and (status == OTHER_CODE or child.starts >= TRIES)
        if never and self._hopeless is not None and not self._hopeless.done():
            self._hopeless.set_result(cause)
