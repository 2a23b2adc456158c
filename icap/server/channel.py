"""One client connection: bytes to events and back, with deadlines and bounded buffers in both directions."""

import asyncio
import collections
from collections.abc import Callable
from enum import Enum
from typing import cast

from icap.protocol.errors import IcapError, RemoteProtocolError
from icap.protocol.events import ConnectionClosed, Continue, Data, EndOfMessage, RequestEvent, Response
from icap.protocol.server import Reading, ServerConnection
from icap.server.settings import ServerSettings

HIGH_WATER = 256 * 1024
"""Received body bytes nobody has asked for yet, above which the socket is not read."""
PENDING = 64 * 1024
"""Bytes of pipelined requests above which the socket is not read."""


class Phase(Enum):
    IDLE = "idle"
    HEADER = "header"
    BODY = "body"
    WRITE = "write"
    LINGER = "linger"


class PhaseTimeout(IcapError):
    """The client took too long. Not a TimeoutError, which a scanner's own deadline could be mistaken for."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(f"{phase.value} timeout")
        self.phase = phase


class ClientGone(IcapError):
    """The connection is lost. Not an OSError, for the same reason."""


type Notice = Callable[["Channel"], None]
type AtOnce = Callable[[list[RequestEvent]], bool]


class Channel(asyncio.Protocol):
    """The transport side of a connection. One task reads and writes; callbacks come from the event loop.

    ``at_once`` is offered each request that came whole while the task waits for one, and may answer it, or take it and call
    ``answered`` or ``fail`` later: the task then sleeps on. To wake it costs more than the rest of such an answer.
    """

    def __init__(
        self, settings: ServerSettings, opened: Callable[["Channel"], None], closed: Callable[["Channel"], None]
    ) -> None:
        self.core = ServerConnection(settings.limits)
        self.settings = settings
        self.at_once: AtOnce | None = None
        self._opened = opened
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._events: collections.deque[RequestEvent] = collections.deque()
        self._queued = 0
        self._pending = 0
        self._failure: Exception | None = None
        self._ended = False
        self._between = False
        """The task waits for the next request."""
        self._taken = False
        """``at_once`` has taken a request, and its answer is under way; until then the task is not woken."""
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._full = False
        self._paused = False
        self._phase = Phase.IDLE
        self._deadline = float("inf")

    # -- asyncio's callbacks -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclasses
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._closing is not None:
            self._closing.cancel()
        self._fail(ClientGone("connection lost"))
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.LINGER or self._failure is not None:
            return
        if self._phase is Phase.IDLE:
            self._arm(Phase.HEADER, self.settings.header_timeout)
        if self.core.paused:
            self._pending += len(data)
        self._parse(self.core.receive_data, data)

    def eof_received(self) -> bool:
        """A client may close its side and still wait for the answer to a complete request; not so with TLS."""
        self._ended = True
        if self._phase is Phase.LINGER:
            self._wake()
        elif self.core.reading is not Reading.DONE:
            self._parse_end()
        return self._transport is not None and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # -- receiving -----------------------------------------------------------------------------------------------------

    async def receive(self, phase: Phase, seconds: float) -> RequestEvent:
        """The next event of the client.

        Raises:
            RemoteProtocolError, PhaseTimeout, ClientGone.
        """
        while not self._events:
            if self._failure is not None:
                raise self._failure
            await self._wait(phase, seconds)
        self._disarm()  # armed still when the data came before anybody waited
        event = self._events.popleft()
        if type(event) is Data:
            self._queued -= len(event.data)
        self._flow()
        return event

    def advance(self) -> None:
        """Let the core go on with the bytes at hand: after 100 Continue, and after an exchange."""
        self._pending = 0
        self._parse(self.core.next_events)
        if self._ended and self.core.reading is not Reading.DONE:
            self._parse_end()
        self._flow()

    @property
    def gone(self) -> bool:
        return self._transport is None

    @property
    def ended(self) -> bool:
        """The client has closed its side; there is no further request."""
        return self._ended

    async def _wait(self, phase: Phase, seconds: float) -> None:
        self._between = phase is Phase.IDLE
        if self._between:
            phase, seconds = self._idle_phase()
        self._arm(phase, seconds)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._between = False
            self._disarm()

    def _idle_phase(self) -> tuple[Phase, float]:
        """Between two requests, or inside the head of the next."""
        if self.core.idle:
            return Phase.IDLE, self.settings.idle_timeout
        return Phase.HEADER, self.settings.header_timeout

    def _parse[*Arguments](self, step: Callable[[*Arguments], list[RequestEvent]], *arguments: *Arguments) -> None:
        try:
            events = step(*arguments)
            while events and self._between and not self._full and self.at_once is not None and self.at_once(events):
                events = self._following()
        except RemoteProtocolError as error:
            self._fail(error)
            return
        for event in events:
            if type(event) is Data:
                self._queued += len(event.data)
        if events:
            self._events.extend(events)
            self._wake()
        self._flow()

    def _following(self) -> list[RequestEvent]:
        self._taken = not self.core.complete
        if self._taken:
            self._disarm()  # what comes meanwhile waits in the core
            return []
        events = self.core.next_events()
        self._arm(*self._idle_phase())
        return events

    def answered(self) -> None:
        """What ``at_once`` took has its answer."""
        self._taken = False
        if self.core.must_close or not self.core.complete:
            self._events.append(ConnectionClosed())  # for the task, which ends the connection
            self._wake()
            return
        self.advance()
        if self.core.reading is not Reading.DONE:
            self._arm(*self._idle_phase())

    def fail(self, error: Exception) -> None:
        """What ``at_once`` took has no answer: the task is to say so."""
        self._taken = False
        self._fail(error)

    def _parse_end(self) -> None:
        self._parse(self.core.receive_data, b"")

    def _flow(self) -> None:
        paused = self._queued > HIGH_WATER or self._pending > PENDING
        if paused != self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = paused
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def _fail(self, failure: Exception) -> None:
        if self._failure is None or isinstance(failure, ClientGone):
            self._failure = failure
        if not self._taken or isinstance(failure, ClientGone):
            self._wake()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, *events: Continue | Response | Data | EndOfMessage) -> None:
        """One write for all of them: a write each would cost a delayed acknowledgement (40 ms) now and then.

        Raises:
            LocalProtocolError: the core refuses.
        """
        data = b"".join([self.core.send(event) for event in events])
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self, seconds: float) -> None:
        """Wait until the client has taken most of what was sent.

        Raises:
            PhaseTimeout, ClientGone.
        """
        while self._full and self._transport is not None:
            self._room = self._loop.create_future()
            self._arm(Phase.WRITE, seconds)
            try:
                await self._room
            finally:
                self._room = None
                self._disarm()
            if isinstance(self._failure, PhaseTimeout):
                raise self._failure
        if self._transport is None:
            raise ClientGone("connection lost")

    # -- ending --------------------------------------------------------------------------------------------------------

    async def linger(self) -> None:
        """Close our side, then throw away what still comes, for a while."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._phase = Phase.LINGER
        self._events.clear()
        if self._ended or not transport.can_write_eof():
            self.close()
            return
        transport.write_eof()
        self._queued = self._pending = 0
        self._flow()
        await self._wait(Phase.LINGER, self.settings.linger_timeout)
        self.abort()

    def close(self) -> None:
        """Close once everything written has gone out, or at the end of the time for writing."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._closing = self._loop.call_later(self.settings.write_timeout, self.abort)

    def abort(self) -> None:
        """Close now and forget what was written."""
        if self._transport is not None:
            self._transport.abort()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Called every tick with the loop's time."""
        if now >= self._deadline:
            self._disarm()
            self._fail(PhaseTimeout(self._phase))

    def _arm(self, phase: Phase, seconds: float) -> None:
        self._phase = phase
        self._deadline = self._loop.time() + max(seconds, 0.0)

    def _disarm(self) -> None:
        self._deadline = float("inf")
