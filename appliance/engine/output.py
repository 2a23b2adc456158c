"""What goes out on a connection's sides: everything that is sent during one event goes in one write."""

import asyncio
import contextlib
import socket
import struct
from typing import cast

from mitmproxy.connection import Client, Connection
from mitmproxy.proxy.server import ConnectionIO

from appliance.domain.notes import ConnNotes
from appliance.engine.stream import ClientStream
from appliance.engine.streaming import WRITE_HIGH

type Transports = dict[Connection, ConnectionIO]


class Output:
    """``transports`` are the open sides; what is sent to another one is dropped."""

    def __init__(self, client: Client, conn: ConnNotes, transports: Transports) -> None:
        self.waiting: dict[Connection, list[bytes]] = {}
        self._client, self._conn, self._transports = client, conn, transports

    def add(self, connection: Connection, data: bytes) -> None:
        """It goes out with the next ``flush``."""
        if connection in self._transports:
            self.waiting.setdefault(connection, []).append(data)

    def flush_all(self) -> None:
        for connection in list(self.waiting):
            self.flush(connection)

    def flush(self, connection: Connection) -> None:
        pieces = self.waiting.pop(connection, None)
        writer = self.writer(connection)
        if not pieces or writer is None or writer.is_closing():
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if connection is self._client:
            self._conn.bytes_out += len(data)
        writer.write(data)

    def writer(self, connection: Connection) -> asyncio.StreamWriter | None:
        io = self._transports.get(connection)
        return cast(asyncio.StreamWriter | None, io.writer) if io is not None else None

    async def drain(self) -> None:
        """Wait until no write buffer holds too much."""
        for io in list(self._transports.values()):
            writer = cast(asyncio.StreamWriter | None, io.writer)
            if writer is not None and writer.transport.get_write_buffer_size() > WRITE_HIGH:
                try:
                    await writer.drain()
                except OSError as error:
                    if io.handler is not None:
                        io.handler.cancel(f"error sending data: {error}")

    def reset(self, stream: ClientStream) -> None:
        """A reset for the client, no end (RFC 9293 section 3.10.7.4): after an end some take what they have for the whole."""
        self.waiting.pop(self._client, None)
        sock = stream.writer.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.abort()
