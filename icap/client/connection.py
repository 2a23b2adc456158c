"""One connection to an ICAP server.

Reading goes on while we write, because bytes arrive by callback: a server that answers before it has read everything
(RFC 3507 section 4.5) cannot deadlock with us, and no task is needed per transaction.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import cast

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.protocol import ClientConnection, Limits, RemoteProtocolError, ResponseEvent

# Up to this size one copied buffer is cheaper than a vector of buffers.
_JOIN_BELOW = 128 * 1024
MIN_RATE = 256 * 1024
"""Bytes per second that a service must take, or give, of a body that is streamed."""
SCAN_RATE = 16 * 1024 * 1024
"""Bytes per second that a service may be expected to judge: a large body extends the transaction's time by this."""


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
        self._error: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timed = False
        """A transaction is under way."""
        self._heard = False
        self._deadline = 0.0
        self._stall = 0.0
        self._first_byte = math.inf
        self._progress = 0.0
        self._unsent = 0
        self._full = False
        self._drain: asyncio.Future[None] | None = None
        self._paused: float | None = None
        self._span = 0.0

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

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def _close(self) -> None:
        """The peer is gone. A reused connection that ends before it said anything had been closed before we wrote
        (RFC 9112 section 9.3.1): that, and nothing else, is free to be tried again."""
        try:
            self.wire.receive_data(b"")
            detail = "the server closed the connection"
        except RemoteProtocolError as error:
            detail = error.detail
        self._fail(ScanError(Reason.ICAP_ERROR, detail, retryable=self.uses > 0 and not self._heard))

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            if self._transport is not None:
                self._transport.abort()
        self._forget_timer()
        if self.idle_since is not None:
            self.idle_since = None
            self._on_idle_loss(self)
        self._wake()

    def _wake(self) -> None:
        for waiter in (self._waiter, self._drain):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    # -- a transaction's side ------------------------------------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        return self._error is None and self.wire.reusable and self._pending_write() == 0

    def begin(self, deadline: float, stall: float, first_byte: float = math.inf) -> None:
        """Start a transaction that ends by ``deadline`` (loop time), and never stands still for ``stall`` seconds; between
        our last byte and the first of the answer for ``first_byte`` seconds, in which a scanner may think."""
        self.idle_since = None
        self._deadline = deadline
        self._stall = stall
        self._first_byte = first_byte
        self._progress = self._loop.time()
        self._unsent = 0
        self._paused = None
        self._span = deadline - self._progress
        self._timed = True
        due = self._next_check(self._progress, True)
        if self._timer is None or self._timer.when() > due:
            self._look_at(due)

    def end(self) -> None:
        """Stop the clocks of the transaction."""
        self._timed = False  # the timer serves the next one as well: most transactions are over long before it is due

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

    async def drained(self) -> None:
        """Wait until the peer has taken enough for more to be written, or the connection is lost (see ``event``)."""
        while self._full and self._error is None:
            self._drain = self._loop.create_future()
            try:
                await self._drain
            finally:
                self._drain = None

    def give_up(self, error: Exception) -> None:
        """End the transaction: ``event`` raises ``error``."""
        self._fail(error)

    def pause(self) -> None:
        """What is to be sent has not arrived yet: that time does not count against the service."""
        if self._paused is None:
            self._paused = self._loop.time()

    def resume(self) -> None:
        """There is something to send again."""
        if self._paused is not None:
            now = self._loop.time()
            self._deadline += now - self._paused
            self._progress = now
            self._paused = None

    def moved(self, size: int) -> None:
        """So many bytes of a streamed body went by: whoever keeps ``MIN_RATE`` is not cut, and saves up no time by being
        faster."""
        ahead = min(self._deadline + size / MIN_RATE, self._loop.time() + self._span)
        self._deadline = max(self._deadline, ahead)

    def all_sent(self, size: int) -> None:
        """The service has ``size`` bytes to judge now."""
        self._deadline += size / SCAN_RATE
        self._first_byte += size / SCAN_RATE

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

    def _look_at(self, due: float) -> None:
        self._forget_timer()
        self._timer = self._loop.call_at(due, self._check_time)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_time(self) -> None:
        self._timer = None
        if not self._timed:
            return
        now = self._loop.time()
        if self._paused is not None:
            self._look_at(now + min(self._stall, self._first_byte))
            return
        unsent = self._pending_write()
        if unsent < self._unsent:
            self._progress = now
        self._unsent = unsent
        moving = bool(unsent) or self.wire.answer_started
        if now >= self._deadline:
            self._fail(ScanError(Reason.ICAP_TIMEOUT, "no complete answer in the transaction's time"))
        elif moving and now >= self._progress + self._stall:
            self._fail(ScanError(Reason.ICAP_TIMEOUT, f"no byte moved for {self._stall:g} s"))
        elif not moving and now >= self._progress + self._first_byte:
            self._fail(ScanError(Reason.ICAP_TIMEOUT, f"no answer within {self._first_byte:g} s"))
        else:
            self._look_at(self._next_check(now, moving))

    def _next_check(self, now: float, moving: bool) -> float:
        """Always later than ``now``: what is due now has been decided."""
        due = self._progress + (self._stall if moving else self._first_byte)
        # it may begin to move, or come to a stand, right after this look
        return min(self._deadline, due, now + min(self._stall, self._first_byte))
