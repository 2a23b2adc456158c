"""The way to one service: connections that are kept, and a second try where a kept one had been closed."""

import asyncio
import ssl
from collections.abc import Callable

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.client.address import ServiceAddress
from icap.client.author import Author
from icap.client.body import Body
from icap.client.connection import Connection
from icap.client.dial import dial
from icap.client.message import Message
from icap.client.pool import Pool
from icap.client.stats import ServiceStats
from icap.client.threat import clean_text
from icap.client.tls import client_context
from icap.client.transaction import Answer, exchange
from icap.client.tuning import Tuning
from icap.protocol import Request, ServiceOptions


class Line:
    """``most``: connections, whatever the service allows. ``tls`` is for addresses that say so; None: the default context."""

    def __init__(
        self,
        address: ServiceAddress,
        connect_timeout: float,
        most: int,
        tls: ssl.SSLContext | None,
        tuning: Tuning,
        stats: ServiceStats,
    ) -> None:
        self._address = address
        self._connect_timeout = connect_timeout
        self._most = most
        self._tls = (tls or client_context()) if address.tls else None
        self._tuning = tuning
        self._stats = stats
        self._author = Author(address, tuning)
        self._pool = Pool(self._connect, most, tuning.idle_timeout, tuning.max_waiting, stats)

    @property
    def limit(self) -> int:
        """Connections allowed now."""
        return self._pool.limit

    def allow(self, advertised: int | None) -> None:
        """Keep to what the service allows, if it states it: this worker's part, for workers do not know of each other."""
        share = max(1, advertised // self._tuning.workers) if advertised else self._most
        self._pool.resize(min(self._most, share))

    def back_off(self) -> None:
        """There are more connections than the service takes: keep to what it bears until it says something else."""
        self._pool.resize(max(1, self._pool.busy))

    def close(self) -> None:
        """Close what is idle, and what is busy when it is given back."""
        self._pool.close()

    async def question(self, deadline: float) -> Answer:
        return await self._exchange(self._author.question(), b"", deadline)

    async def ask(self, message: Message, options: ServiceOptions, deadline: float) -> Answer:
        return await self._exchange(self._author.request(message, options), message.body or b"", deadline)

    async def _exchange(self, request: Request, body: bytes | Body, deadline: float) -> Answer:
        """One attempt, and a second on a new connection when a pooled one turned out to be closed. The second is no
        failure of the service: closing an idle connection is its right."""
        try:
            answer = await self._attempt(request, body, deadline, fresh=False)
        except ScanError as error:
            if not error.retryable or not self._tuning.retry:
                raise
            self._stats.retries += 1
            return await self._attempt(request, body, deadline, fresh=True)
        return answer

    async def _attempt(self, request: Request, body: bytes | Body, deadline: float, *, fresh: bool) -> Answer:
        connection = None if fresh else self._pool.take()
        if connection is None:
            connection = await self._acquire(deadline, fresh)
        try:
            connection.begin(deadline, self._tuning.stall_timeout, self._tuning.first_byte_timeout)
            answer = await exchange(connection, request, body)
            if answer.status == 408 and connection.uses:
                # The server gave up waiting for a request on this connection just when ours was on its way.
                raise ScanError(Reason.ICAP_TIMEOUT, "ICAP status 408", retryable=True)
            return answer
        finally:
            self._pool.release(connection)

    async def _acquire(self, deadline: float, fresh: bool) -> Connection:
        try:
            until = min(deadline, asyncio.get_running_loop().time() + self._tuning.queue_timeout)
            async with asyncio.timeout_at(until):
                return await self._pool.acquire(fresh=fresh)
        except TimeoutError as error:
            raise ScanError(Reason.ICAP_OVERLOAD, "no connection became free in time") from error

    async def _connect(self, on_idle_loss: Callable[[Connection], None]) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await dial(lambda: Connection(self._tuning.limits, on_idle_loss), self._address, self._tls)
        except TimeoutError as error:
            raise ScanError(Reason.ICAP_UNREACHABLE, f"no connection within {self._connect_timeout:g} s") from error
        except OSError as error:
            raise ScanError(Reason.ICAP_UNREACHABLE, clean_text(str(error))) from error
