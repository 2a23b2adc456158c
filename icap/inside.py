"""Our ICAP server's services in the process that asks them: the same scans, limits and answers, without ICAP in between.

Nothing of a body is taken apart here that a scanner does not take apart: use it with scanners that leave that to a process
of their own (clamd), or look at the whole (hash lists).
"""

import asyncio
from collections.abc import AsyncIterator

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.client.author import Author
from icap.client.body import Body
from icap.client.message import Message
from icap.client.transaction import Answer
from icap.protocol import ServiceOptions
from icap.protocol.events import REASONS
from icap.server.adapt import Ask, EchoService
from icap.server.ruling import Ruling
from icap.server.service import bare


class Inside:
    """A ``Way`` to one service. ``limit``: messages under way; ``max_waiting`` more wait, each ``queue_timeout`` seconds at
    most, and what is beyond is refused."""

    def __init__(
        self, service: EchoService | None, author: Author, limit: int, *, max_waiting: int = 1024, queue_timeout: float = 30.0
    ) -> None:
        """``service`` None: the server has none of that name. ``author``: of the request, for scanners that judge by more than
        the body."""
        self.limit = limit
        self._service = service
        self._author = author
        self._max_waiting = max_waiting
        self._queue_timeout = queue_timeout
        self._waiting = 0
        self._slots = asyncio.Semaphore(limit)

    def allow(self, advertised: int | None) -> None:
        """What the server allows are connections, and here are none."""

    def back_off(self) -> None:
        return

    def close(self) -> None:
        return

    async def question(self, deadline: float) -> Answer:
        return _answer(Ruling(bare(404) if self._service is None else self._service.offered()))

    async def ask(self, message: Message, options: ServiceOptions, deadline: float) -> Answer:
        service = self._service
        if service is None:
            return _answer(Ruling(bare(404)))
        if message.method not in service.methods:
            return _answer(Ruling(bare(405, service.istag)))
        body = message.body
        if not body or (isinstance(body, Body) and not body.size):
            return _answer(service.without_body())
        await self._enter(deadline)
        try:
            return await _judged(service, lambda: self._author.request(message, options), body, deadline)
        finally:
            self._slots.release()

    async def _enter(self, deadline: float) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        if self._waiting >= self._max_waiting:
            raise ScanError(Reason.ICAP_OVERLOAD, f"{self.limit} messages are being scanned")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + self._queue_timeout)):
                await self._slots.acquire()
        except TimeoutError as error:
            raise ScanError(Reason.ICAP_OVERLOAD, "no scan came to its end in time") from error
        finally:
            self._waiting -= 1


class _Poured:
    """A body on its way into a scanner."""

    def __init__(self, body: bytes | Body) -> None:
        self._body = body
        self.complete = False
        """All of it was taken."""

    async def pieces(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, Body):
            async for piece in self._body.pieces():
                yield piece
        else:
            yield self._body
        self.complete = True


async def _judged(service: EchoService, ask: Ask, body: bytes | Body, deadline: float) -> Answer:
    poured = _Poured(body)
    try:
        # of a body that is still arriving only the scanner's own waits count, and it has an end for each
        async with asyncio.timeout_at(None if isinstance(body, Body) else deadline):
            ruling = await service.judge(ask, poured.pieces(), lambda: poured.complete)
    except TimeoutError as error:
        raise ScanError(Reason.ICAP_TIMEOUT, "no verdict in the transaction's time") from error
    return _answer(ruling)


def _answer(ruling: Ruling) -> Answer:
    response = ruling.response
    return Answer(
        response.status,
        response.headers,
        None,
        response.response_head,
        ruling.page if response.body else None,
        None,
        response.reason or REASONS.get(response.status, ""),
        ruling.sha256,
    )
