"""The connections to one service."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.client.connection import Connection
from icap.client.stats import ServiceStats

type Connect = Callable[[Callable[[Connection], None]], Awaitable[Connection]]


class Pool:
    """Never more than ``limit`` connections, busy and idle together; the one used last is used first, so that a quiet
    service's surplus grows old and is closed.

    A slot passes straight from who frees it to who waits longest: a newcomer cannot overtake.
    """

    def __init__(self, connect: Connect, limit: int, idle_timeout: float, max_waiting: int, stats: ServiceStats) -> None:
        self.limit = limit
        self._connect = connect
        self._idle_timeout = idle_timeout
        self._max_waiting = max_waiting
        self._stats = stats
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._slots = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self) -> Connection | None:
        """An idle connection, when there is one and nobody waits for it."""
        if not self._idle or self._waiting:
            return None
        connection = self._idle.pop()
        self._stats.reuses += 1
        self._count()
        return connection

    async def acquire(self, *, fresh: bool = False) -> Connection:
        """A connection, an idle one unless ``fresh``; waits for a slot.

        Raises:
            ScanError: ICAP_OVERLOAD when too many wait, or why no connection could be made.
        """
        if not fresh and (connection := self.take()) is not None:
            return connection
        if handed := await self._slot(fresh):
            return handed
        return await self._open()

    async def _slot(self, fresh: bool) -> Connection | None:
        """A connection handed over by its last user, or None with the right to open one."""
        if self._closed:
            raise ScanError(Reason.ICAP_UNREACHABLE, "the client was closed")
        if fresh and self._slots >= self.limit and self._idle:
            self._drop(self._idle.pop(0))
        if self._slots < self.limit:
            self._slots += 1
            self._count()
            return None
        connection = await self._wait()
        if connection is not None and fresh:
            connection.abort()
            return None
        return connection

    async def _wait(self) -> Connection | None:
        if len(self._waiting) >= self._max_waiting:
            detail = f"{self._max_waiting} messages wait for a connection" if self._max_waiting else "all connections are busy"
            raise ScanError(Reason.ICAP_OVERLOAD, detail)
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._count()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise
        finally:
            self._count()

    async def _open(self) -> Connection:
        try:
            connection = await self._connect(self._lost_while_idle)
        except BaseException:
            self._free_slot()
            raise
        self._stats.connects += 1
        return connection

    def release(self, connection: Connection) -> None:
        """Give back a connection after its transaction: kept when it is clean, closed otherwise."""
        connection.end()
        if self._closed or self._slots > self.limit or not connection.reusable:
            connection.abort()
            self._free_slot()
            return
        connection.next_cycle()
        self._give_back(connection)

    def _give_back(self, connection: Connection | None) -> None:
        if connection is None:
            self._free_slot()
        elif waiter := self._next_waiter():
            self._stats.reuses += 1
            waiter.set_result(connection)
        else:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
            self._watch_age()
        self._count()

    def _free_slot(self) -> None:
        if self._slots <= self.limit and (waiter := self._next_waiter()):
            waiter.set_result(None)
        else:
            self._slots -= 1
        self._count()

    def _next_waiter(self) -> "asyncio.Future[Connection | None] | None":
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _lost_while_idle(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
            self._free_slot()

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        self._slots -= 1
        self._count()

    def _watch_age(self) -> None:
        oldest = self._idle[0].idle_since if self._idle else None
        if self._sweeper is None and oldest is not None:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_at(oldest + self._idle_timeout, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        limit = asyncio.get_running_loop().time() - self._idle_timeout
        old = [connection for connection in self._idle if (connection.idle_since or 0.0) <= limit]
        self._idle = [connection for connection in self._idle if connection not in old]
        for connection in old:
            self._drop(connection)
        self._watch_age()

    def resize(self, limit: int) -> None:
        """Set the limit; surplus idle connections are closed now, busy ones when they are given back."""
        self.limit = limit
        while self._idle and self._slots > limit:
            self._drop(self._idle.pop(0))
        while self._slots < limit and (waiter := self._next_waiter()):
            self._slots += 1
            waiter.set_result(None)

    @property
    def busy(self) -> int:
        return self._slots - len(self._idle)

    def close(self) -> None:
        """Close what is idle and let what is busy close at its release; who waits is told."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._idle:
            self._drop(self._idle.pop())
        while waiter := self._next_waiter():
            waiter.set_exception(ScanError(Reason.ICAP_UNREACHABLE, "the client was closed"))

    def _count(self) -> None:
        self._stats.idle = len(self._idle)
        self._stats.busy = self.busy
        self._stats.waiting = len(self._waiting)
