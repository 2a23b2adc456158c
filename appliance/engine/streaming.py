"""Bodies that go on while they are judged, as the connection handler serves them: jobs that run beside the layers, sides that
are not read for a while, and peers that do not take what they are sent."""

import asyncio
from collections.abc import Awaitable, Callable

from mitmproxy.connection import Connection

from appliance.engine.inspection import Apart, Await, Hold, Outlet, Reset, Uploading
from appliance.engine.phases import Phases

WRITE_HIGH = 262_144
"""Bytes waiting in a write buffer above which reading of the other side pauses."""

STREAMING = (Await, Hold, Uploading, Reset, Apart)
"""The commands of ``engine.inspection``."""


class Streaming:
    """Of one connection. Use from its handler only."""

    def __init__(self, phases: Phases) -> None:
        self.backlog: Callable[[], int] = lambda: 0
        """Bytes that the HTTP layer holds for a client that does not take them."""
        self.stream_backlog: Callable[[Connection, int], int] = lambda _connection, _stream: 0
        """The same for one stream, on either side."""
        self.release: Callable[[], None] = lambda: None
        """Have the HTTP layer give back the bodies that it holds."""
        self._phases = phases
        self._awaits: set[Await] = set()
        self._holds: dict[Connection, Callable[[], Awaitable[object]]] = {}
        self._moved = asyncio.Event()
        self._apart_over = asyncio.Event()
        phases.busy = self._busy

    def moved(self) -> None:
        """Something has come from a peer: it may have opened its window."""
        self._moved.set()

    def hold(self, command: Hold) -> None:
        self._holds[command.source] = command.until

    async def may_read(self, connection: Connection, *, from_client: bool) -> None:
        """Wait until more can be taken from this side: what was read is kept, or has found its way."""
        if self._holds:
            await self._held(connection)
        if not from_client:
            while self.backlog() > WRITE_HIGH:
                # what an HTTP/2 client does not take is not read from the server
                self._moved.clear()
                await self._moved.wait()

    async def _held(self, connection: Connection) -> None:
        """What was read of this side is as much as can be kept for now."""
        while (until := self._holds.pop(connection, None)) is not None:
            self._phases.hooks_running += 1
            try:
                await until()
            finally:
                self._phases.hooks_running -= 1

    async def taken(self, connection: Connection, stream_id: int, is_there: Callable[[], bool]) -> None:
        """Wait until the peer has taken most of one stream, or is not there any more."""
        while is_there() and self.stream_backlog(connection, stream_id) > WRITE_HIGH:
            self._moved.clear()
            await self._moved.wait()

    async def run(self, command: Await, outlet: Outlet) -> object:
        """Do a job; its phase does not end meanwhile when the job works."""
        task = asyncio.current_task()
        command.cancel = task.cancel if task is not None else command.cancel
        self._awaits.add(command)
        try:
            return await command.job(outlet)
        finally:
            self._awaits.discard(command)

    def apart(self, command: Apart) -> None:
        self._phases.apart(command.flow, over=command.over)
        self._apart_over.set()

    async def without_client(self, over: Callable[[], bool]) -> None:
        """The client is gone: wait until what goes on without it has ended, or ``over`` says that everything has."""
        while self._phases.parted and not over():
            self.backlog = _nothing_waits  # nobody is there to take what it has not taken
            self.moved()
            self._apart_over.clear()
            await self._apart_over.wait()

    def wake(self) -> None:
        """Have ``without_client`` look again."""
        self._apart_over.set()

    def _busy(self) -> bool:
        return any(command.busy() for command in self._awaits)


def _nothing_waits() -> int:
    return 0
