"""The splice lane: two transports joined below the stream layer, no decryption, no copy into Python objects but the chunk."""

import asyncio
from collections.abc import Callable
from typing import cast

from appliance.engine.stream import ClientStream, close_soon


class _End(asyncio.Protocol):
    """One direction: what this transport reads is written to the peer."""

    def __init__(self, relay: "Relay", transport: asyncio.Transport) -> None:
        self.relay = relay
        self.transport = transport
        self.peer: _End = self
        self.bytes = 0
        self.last = relay.loop.time()
        self.eof = False

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        self.last = self.relay.loop.time()
        if not self.peer.transport.is_closing():
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        self.eof = True
        if self.peer.eof:
            return False
        if self.peer.transport.is_closing() or not self.peer.transport.can_write_eof():
            return False
        self.peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.end(self, exc)


class Relay:
    """Relays until both sides are done, either side resets, or both directions are idle longer than ``idle`` seconds.

    ``bytes_in`` counts from the client, ``bytes_out`` to the client. Half-closing is passed on (RFC 9293 section 3.6).
    """

    def __init__(
        self, client: ClientStream, server: asyncio.StreamWriter, server_reader: asyncio.StreamReader, idle: float
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.idle = idle
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.error = ""
        self.timed_out = False
        self.cut = False
        self._client = _End(self, cast(asyncio.Transport, client.writer.transport))
        self._server = _End(self, cast(asyncio.Transport, server.transport))
        self._client.peer, self._server.peer = self._server, self._client
        self._start(client.reader, server_reader)

    @property
    def bytes_in(self) -> int:
        return self._client.bytes

    @property
    def bytes_out(self) -> int:
        return self._server.bytes

    def _start(self, client_reader: asyncio.StreamReader, server_reader: asyncio.StreamReader) -> None:
        for end, reader in ((self._client, client_reader), (self._server, server_reader)):
            end.transport.set_protocol(end)
            # A StreamReader pauses its transport when its buffer is full; from here on the relay decides.
            if not end.transport.is_closing() and not end.transport.is_reading():
                end.transport.resume_reading()
            buffered = bytes(reader._buffer)  # type: ignore[attr-defined]
            if buffered:
                end.data_received(buffered)
            if reader._eof and not end.eof_received():  # type: ignore[attr-defined]
                end.transport.close()

    def end(self, side: _End, exc: Exception | None) -> None:
        if exc is not None and not self.error:
            self.error = f"{'client' if side is self._client else 'server'}: {exc}"
        if exc is not None:
            side.peer.transport.abort()
        elif not side.peer.transport.is_closing():
            close_soon(side.peer.transport)
        if not self.done.done() and side.peer.transport.is_closing():
            self.done.set_result(None)

    def check_deadline(self, now: float) -> None:
        if now - max(self._client.last, self._server.last) > self.idle:
            self.timed_out = True
            self.abort()

    def abort(self) -> None:
        self._client.transport.abort()
        self._server.transport.abort()


async def relay(
    client: ClientStream,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    idle: float,
    watch: Callable[[Relay], None],
    unwatch: Callable[[Relay], None],
) -> Relay:
    """Run a relay to its end. ``watch`` registers it for deadline checks.

    Cancelled, it ends as well, and says so in ``cut``: the caller still has to record how far it came.
    """
    joined = Relay(client, writer, reader, idle)
    watch(joined)
    try:
        await joined.done
    except asyncio.CancelledError:
        joined.cut = True
        joined.abort()
    finally:
        unwatch(joined)
    return joined
