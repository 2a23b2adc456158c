"""One connection to an ICAP server.

Reading goes on while we write, because bytes arrive by callback: a server that answers before it has read everything
(RFC 3507 section 4.5) cannot deadlock with us, and no task is needed per transaction.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.protocol import ClientConnection, Limits, RemoteProtocolError, ResponseEvent

# Up to this size one copied buffer is cheaper than a vector of buffers.
_JOIN_BELOW = 128 * 1024


class Connection(asyncio.Protocol):
    """Carries one transaction at a time. ``on_idle_loss`` is called when it dies, or speaks, while nobody uses it."""

    def __init__(self, limits: Limits, on_idle_loss: Callable[["Connection"], None]) -> None:
        self.wire = ClientConnection(limits)
        self.uses = 0
        self.idle_since: float | None = None
        self._on_idle_loss = on_idle_loss
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._events: deque[ResponseEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: ScanError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = False
        self._deadline = 0.0
        self._stall = 0.0
        self._progress = 0.0
        self._unsent = 0

    # -- asyncio's side ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._error is not None:
            return
        self._heard = True
        self._progress = self._loop.time()
        try:
            self._events.extend(self.wire.receive_data(data))
        except RemoteProtocolError as error:
            self._fail(ScanError(Reason.ICAP_PROTOCOL, error.detail))
        self._wake()

    def eof_received(self) -> None:
        self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._close()

    def _close(self) -> None:
        """The peer is gone. A reused connection that ends before it said anything had been closed before we wrote
        (RFC 9112 section 9.3.1): that, and nothing else, is free to be tried again."""
        try:
            self.wire.receive_data(b"")
            detail = "the server closed the connection"
        except RemoteProtocolError as error:
            detail = error.detail
        self._fail(ScanError(Reason.ICAP_ERROR, detail, retryable=self.uses > 0 and not self._heard))

    def _fail(self, error: ScanError) -> None:
        if self._error is None:
            self._error = error
            if self._transport is not None:
                self._transport.abort()
        if self.idle_since is not None:
            self.idle_since = None
            self._on_idle_loss(self)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- a transaction's side ------------------------------------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        return self._error is None and self.wire.reusable and self._pending_write() == 0

    def begin(self, deadline: float, stall: float) -> None:
        """Start a transaction that ends by ``deadline`` (loop time), and never stands still for ``stall`` seconds."""
        self.idle_since = None
        self._deadline = deadline
        self._stall = stall
        self._progress = self._loop.time()
        self._unsent = 0
        self._timer = self._loop.call_at(min(deadline, self._progress + stall), self._check_time)

    def end(self) -> None:
        """Stop the clocks of the transaction."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def next_cycle(self) -> None:
        """Make ready for another transaction; only when ``reusable``."""
        self.uses += 1
        self._heard = False
        self._events.clear()
        self.wire.next_cycle()

    def abort(self) -> None:
        """Close at once; unread and unsent bytes are lost."""
        self.end()
        self.idle_since = None
        self._fail(ScanError(Reason.ICAP_ERROR, "the connection was given up"))

    def write(self, parts: list[bytes]) -> None:
        """Hand bytes to the transport; a lost connection shows in ``event``."""
        if self._error is not None or self._transport is None:
            return
        if sum(map(len, parts)) <= _JOIN_BELOW:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
        self._unsent = self._pending_write()

    async def event(self) -> ResponseEvent:
        """The next event of the answer.

        Raises:
            ScanError: the connection is lost, the answer is no ICAP, or time ran out.
        """
        while not self._events:
            if self._error is not None:
                raise self._error
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._events.popleft()

    def _pending_write(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def _check_time(self) -> None:
        now = self._loop.time()
        unsent = self._pending_write()
        if unsent < self._unsent:
            self._progress = now
        self._unsent = unsent
        moving = bool(unsent) or self.wire.answer_started
        if now >= self._deadline:
            self._fail(ScanError(Reason.ICAP_TIMEOUT, "no complete answer in the transaction's time"))
        elif moving and now >= self._progress + self._stall:
            self._fail(ScanError(Reason.ICAP_TIMEOUT, f"no byte moved for {self._stall:g} s"))
        else:
            self._timer = self._loop.call_at(self._next_check(now, moving), self._check_time)

    def _next_check(self, now: float, moving: bool) -> float:
        quiet_until = (self._progress if moving else now) + self._stall
        return min(self._deadline, quiet_until)
