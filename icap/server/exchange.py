"""One request and its answer, as a service sees them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from icap.protocol.events import Continue, Data, EndOfMessage, PreviewEnd, Request, Response
from icap.protocol.server import Reading, Writing
from icap.server.channel import Channel, Phase
from icap.server.scanners.scanner import ScanResult

PIECE = 64 * 1024


@dataclass(slots=True)
class Account:
    """What is told of an exchange when it is over."""

    service: str
    method: str
    client: str = ""
    """X-Client-IP as the ICAP client states it."""
    status: int = 0
    """ICAP status; 0 when the connection ended without an answer."""
    received: int = 0
    """Body bytes."""
    ms: float = 0.0
    scan: ScanResult | None = None
    reason: str = ""
    """Why there is no verdict, when there is none."""


class Exchange:
    """A request being served.

    The body is read with ``body``, or step by step with ``read`` and ``proceed``. The answer goes out with ``answer``,
    or step by step with ``start``, ``write`` and ``finish``.
    """

    def __init__(self, request: Request, channel: Channel, stopping: Callable[[], bool]) -> None:
        """``stopping``: whether the server is going down, so that the connection ends with this answer."""
        self.request = request
        self.account = Account("", request.method, request.headers.first("X-Client-IP") or "")
        self.ieof = False
        """The preview held the whole body."""
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._left = channel.settings.body_timeout
        self._waiting = False
        self._complete = not request.body
        self._stopping = stopping
        self._started = self._loop.time()

    @property
    def query(self) -> str:
        return urlsplit(self.request.uri).query

    @property
    def complete(self) -> bool:
        """The whole body has been read."""
        return self._complete

    @property
    def waiting(self) -> bool:
        """The preview has been read, there is more, and the client waits: ``proceed`` or answer."""
        return self._waiting

    @property
    def may_send_204(self) -> bool:
        return self._channel.core.may_send_204

    @property
    def may_send_206(self) -> bool:
        return self._channel.core.may_send_206

    @property
    def answered(self) -> bool:
        return self.account.status != 0

    @property
    def finished(self) -> bool:
        """The answer has been given to its end."""
        return self._channel.core.writing is Writing.DONE

    # -- the body ------------------------------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end and at the end of the preview.

        Raises:
            RemoteProtocolError, PhaseTimeout, ClientGone: there is no verdict on what was read so far.
        """
        if self._complete or self._waiting:
            return b""
        started = self._loop.time()
        event = await self._channel.receive(Phase.BODY, self._left)
        self._left -= self._loop.time() - started
        if type(event) is Data:
            self.account.received += len(event.data)
            return event.data
        if type(event) is PreviewEnd:
            self._waiting = True
        elif type(event) is EndOfMessage:
            self._complete, self.ieof = True, event.ieof
        return b""

    def has_come(self, size: int) -> None:
        """The whole body was read by somebody else."""
        self.account.received = size
        self._complete = True

    def proceed(self) -> None:
        """100 Continue. Only while ``waiting``, and so once at most."""
        self._waiting = False
        self._channel.send(Continue())
        self._channel.advance()

    async def body(self) -> AsyncIterator[bytes]:
        """The whole body; asks for what follows the preview when that is wanted."""
        while not self._complete:
            if self._waiting:
                self.proceed()
            data = await self.read()
            if data:
                yield data

    # -- the answer ----------------------------------------------------------------------------------------------------

    async def answer(self, response: Response, body: bytes = b"") -> None:
        """The whole answer in one write."""
        self.say(response, body)
        await self._channel.drained(self._channel.settings.write_timeout)

    def say(self, response: Response, body: bytes = b"") -> None:
        """The same, not waiting until the client takes it."""
        if not response.body:
            self._send(response)
        elif body:
            self._send(response, Data(body), EndOfMessage())
        else:
            self._send(response, EndOfMessage())

    async def partial(self, response: Response, body: bytes, offset: int) -> None:
        """A 206: ``body``, and behind it what the client still has of its original from ``offset``."""
        self._send(response, *((Data(body),) if body else ()), EndOfMessage(use_original_body=offset))
        await self._channel.drained(self._channel.settings.write_timeout)

    async def stream(self, response: Response, body: AsyncIterator[bytes]) -> None:
        """An answer with a body too large to hold."""
        started = self._loop.time()
        self._send(response)
        async for piece in body:
            self._channel.send(Data(piece))
            await self._drained(started)
        self._channel.send(EndOfMessage())
        await self._drained(started)

    async def start(self, response: Response) -> None:
        """The head of an answer that is given while the body is still being read; read it to its end afterwards."""
        self.account.status = response.status
        self._channel.send(response)

    async def write(self, data: bytes) -> None:
        """A piece of the answer's body."""
        self._channel.send(Data(data))
        await self._channel.drained(self._channel.settings.write_timeout)

    async def finish(self) -> None:
        self._channel.send(EndOfMessage())
        await self._channel.drained(self._channel.settings.write_timeout)

    async def _drained(self, started: float) -> None:
        await self._channel.drained(self._channel.settings.write_timeout - (self._loop.time() - started))

    def _send(self, response: Response, *rest: Data | EndOfMessage) -> None:
        self.account.status = response.status
        unread = self._channel.core.reading not in (Reading.DONE, Reading.DECISION)
        if (unread or self._stopping()) and "close" not in response.headers.tokens("Connection"):
            # What is left of the request cannot be told from the next one without reading it, and may be endless.
            response = Response(
                response.status,
                response.headers.plus(("Connection", "close")),
                response.request_head,
                response.response_head,
                response.body,
                response.reason,
            )
        self._channel.send(response, *rest)

    def close(self) -> None:
        """The exchange is over: settle the account."""
        self.account.ms = round((self._loop.time() - self._started) * 1000, 3)
