"""Byte streams that can be looked at without consuming: what a lane is handed still holds every byte."""

import asyncio
import socket
import ssl
from dataclasses import dataclass

LINGER_SECONDS = 2.0
LINGER_BYTES = 1024 * 1024
FLUSH_PATIENCE = 20.0
"""Seconds without progress after which a closed connection is cut; what the kernel took counts as sent."""
READ_LIMIT = 65_536
"""Bytes buffered before reading pauses; asyncio keeps up to twice this."""
SERVER_READ_LIMIT = 262_144
"""The same for servers, whose answers are larger: each piece costs a walk through the layers (``bench`` row 100k)."""


class PeekReader(asyncio.StreamReader):
    """A StreamReader whose buffer can be inspected, and waited on, in place."""

    _buffer: bytearray
    _limit: int

    @property
    def buffered(self) -> bytes:
        return bytes(self._buffer)

    @property
    def ended(self) -> bool:
        """Whether the stream's end has come, or its failure, be there something left to read or not."""
        return bool(self._eof) or self._exception is not None  # type: ignore[attr-defined]

    async def peek(self, count: int = 1) -> bytes:
        """Everything buffered once there are ``count`` bytes, or less at the end of the stream. Consumes nothing."""
        while len(self._buffer) < count and not self.at_eof() and not self._eof:  # type: ignore[attr-defined]
            self._limit = max(self._limit, count)
            await self._wait_for_data("peek")  # type: ignore[attr-defined]
        if self._exception is not None:  # type: ignore[attr-defined]
            raise self._exception  # type: ignore[attr-defined]
        return bytes(self._buffer)

    async def peek_more(self, have: int) -> bytes:
        """Wait until there are more than ``have`` bytes; the same bytes again mean the stream ended."""
        return await self.peek(have + 1)

    def skip(self, count: int) -> None:
        """Drop bytes that were peeked."""
        del self._buffer[:count]
        self._maybe_resume_transport()  # type: ignore[attr-defined]


def close_soon(transport: asyncio.WriteTransport, patience: float = FLUSH_PATIENCE) -> None:
    """Close once what is buffered has been sent, as long as the peer takes something of it every ``patience`` seconds.

    A transport that is merely closed waits for its peer for ever: each one that stops reading would keep the descriptor
    and up to a whole scanned body, outside of every limit, because its connection has ended for us.
    """
    if not transport.is_closing():
        transport.close()
    waiting = transport.get_write_buffer_size()
    if waiting:
        asyncio.get_running_loop().call_later(patience, _cut_stalled, transport, waiting, patience)


def _cut_stalled(transport: asyncio.WriteTransport, before: int, patience: float) -> None:
    waiting = transport.get_write_buffer_size()
    if waiting >= before:
        transport.abort()
    elif waiting:
        asyncio.get_running_loop().call_later(patience, _cut_stalled, transport, waiting, patience)


class ClientWriter(asyncio.StreamWriter):
    """What is written to a client that has gone is dropped. uvloop raises there, and the task's record would be lost."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_closing():
            super().write(data)


@dataclass(slots=True)
class ClientStream:
    """The client's side of a connection: a reader that can peek, and a writer."""

    reader: PeekReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        if not self.writer.is_closing():
            close_soon(self.writer.transport)

    def abort(self) -> None:
        self.writer.transport.abort()

    async def finish(self) -> None:
        """Close so that our last words arrive: closing a socket that holds unread bytes sends a reset, which takes the
        answer away from a client that is still sending (RFC 9112 section 9.6). Bounded in time and bytes."""
        if self.writer.is_closing() or self.reader.at_eof():
            self.close()
            return
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._linger()
        except (TimeoutError, OSError):
            self.abort()
        finally:
            self.close()

    async def _linger(self) -> None:
        await self.writer.drain()
        if self.writer.can_write_eof():
            self.writer.write_eof()
        dropped = 0
        while dropped < LINGER_BYTES and (data := await self.reader.read(READ_LIMIT)):
            dropped += len(data)


async def accept_stream(sock: socket.socket, tls: ssl.SSLContext | None, handshake_timeout: float) -> ClientStream:
    """Wrap an accepted socket; with ``tls``, after the handshake of TLS to the proxy itself.

    Raises:
        OSError, ssl.SSLError, TimeoutError: the handshake failed; the socket is closed.
    """
    loop = asyncio.get_running_loop()
    reader = PeekReader(READ_LIMIT, loop)
    # Ours, not what the loop returns with the transport: for TLS that is uvloop's own protocol, which cannot drain.
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    if tls is None:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
    else:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, sock, ssl=tls, ssl_handshake_timeout=handshake_timeout
        )
    return ClientStream(reader, ClientWriter(transport, protocol, reader, loop))
