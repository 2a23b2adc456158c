"""The parent process: it holds every listening socket, starts the children, and starts them again when they die.

Each worker has its own SO_REUSEPORT socket per listener, made and kept here. When a worker dies, connections that the
kernel has queued for it wait in its socket, and its successor takes them: none is reset.
"""

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)

BACKOFF = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the n-th start in a row; a child that has lived for a minute begins again at the first."""
LIVED = 60.0
GRACE = 3.0
"""Seconds beyond the drain time before a child is killed."""


@dataclass(slots=True)
class Child:
    """One child process and how to start it."""

    kind: str
    index: int
    payload: Any
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)
    secret: Callable[[], bytes] | None = None
    """Asked at each start for what this process alone is told, in memory."""
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    restarts: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.index}"


class Supervisor:
    """``on_death`` is told of each child that ended on its own (and its process id)."""

    def __init__(self, children: list[Child], environment: Mapping[str, str], on_death: Callable[[Child, int], None]) -> None:
        self.children = children
        self._environment = environment
        self._on_death = on_death
        self._stopping = False

    async def run(self, stop: asyncio.Event, quick: Callable[[], bool], drain: float) -> None:
        """Keep the children alive until ``stop``; then SIGTERM (or SIGINT when ``quick``), and SIGKILL after the drain time."""
        watches = [asyncio.create_task(self._keep(child)) for child in self.children]
        await stop.wait()
        self._stopping = True
        await self._stop_all(signal.SIGINT if quick() else signal.SIGTERM, 2.0 if quick() else drain + GRACE)
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            await asyncio.sleep(BACKOFF[min(child.starts, len(BACKOFF) - 1)])
            started = loop.time()
            child.process = await self._spawn(child)
            status = await child.process.wait()
            if self._stopping:
                return
            logger.error("%s ended with status %d; it is started again", child.name, status)
            child.restarts += 1
            child.starts = 1 if loop.time() - started > LIVED else child.starts + 1
            self._on_death(child, child.process.pid)

    async def _spawn(self, child: Child) -> asyncio.subprocess.Process:
        fds = {name: sock.fileno() for name, sock in child.sockets.items()}
        bootstrap = _memory_file(pickle.dumps((child.payload, fds, child.secret() if child.secret else b"")))
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-O", "-m", "appliance.child", child.kind, str(child.index), str(bootstrap),
                pass_fds=[bootstrap, *fds.values()], env=dict(self._environment), start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        finally:
            os.close(bootstrap)

    async def _stop_all(self, how: signal.Signals, patience: float) -> None:
        alive = [child.process for child in self.children if child.process and child.process.returncode is None]
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(how)
        waits = [asyncio.create_task(process.wait()) for process in alive]
        if waits:
            await asyncio.wait(waits, timeout=patience)
        for process in alive:
            if process.returncode is None:
                logger.warning("process %d did not stop in time and is killed", process.pid)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if waits:
            await asyncio.wait(waits, timeout=2.0)


def _memory_file(data: bytes) -> int:
    """The configuration, secrets included, goes to a child through anonymous memory, never through a file or arguments."""
    fd = os.memfd_create("arcus")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
