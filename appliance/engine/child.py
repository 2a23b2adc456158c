"""One child process: what it is told at its start, and the line on which it says that it is ready."""

import asyncio
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.clock import SystemClock
from appliance.engine.stage import BEGIN, READY


@dataclass(slots=True)
class Child:
    """One child process and how to start it."""

    kind: str
    index: int
    payload: Any
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)
    secret: Callable[[], bytes] | None = None
    """Asked at each start for what this process alone is told, in memory."""
    stamp: str = ""
    """The code that the parent runs: a process of other code does not understand what it is told, and says so."""
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    restarts: int = 0
    since: float = 0.0
    """When the process was started, in seconds since the epoch."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while a process is there that is ready."""

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.index}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def signal(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(how)  # asyncio has not reaped it: the number is still its own

    async def live(self, environment: Mapping[str, str], begin: asyncio.Event) -> int:
        """Start it, let it begin when it is ready and ``begin`` is set, and wait for its end. Its exit status.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self.process = await self._spawn(environment, theirs)
            self.since = SystemClock().now()
            introduction = asyncio.create_task(self._introduce(ours, begin))
            try:
                return await self.process.wait()
            finally:
                introduction.cancel()
                await asyncio.gather(introduction, return_exceptions=True)
                self.arrived.clear()

    async def _introduce(self, line: socket.socket, begin: asyncio.Event) -> None:
        line.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            if await loop.sock_recv(line, 1) == READY:
                self.arrived.set()
                await begin.wait()
                await loop.sock_sendall(line, BEGIN)
        except OSError:
            pass  # it has died; whoever waits for its end is told

    async def _spawn(self, environment: Mapping[str, str], line: socket.socket) -> asyncio.subprocess.Process:
        fds = {name: sock.fileno() for name, sock in self.sockets.items()}
        told = {
            "stamp": self.stamp,
            "line": line.fileno(),
            "sockets": fds,
            "secret": self.secret() if self.secret else b"",
            "payload": pickle.dumps(self.payload),
        }
        bootstrap = _memory_file(pickle.dumps(told))
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-O", "-m", "appliance.child", self.kind, str(self.index), str(bootstrap),
                pass_fds=[bootstrap, line.fileno(), *fds.values()], env=dict(environment), start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        finally:
            os.close(bootstrap)


def _memory_file(data: bytes) -> int:
    """The configuration, secrets included, goes to a child through anonymous memory, never through a file or arguments."""
    fd = os.memfd_create("arcus")
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
