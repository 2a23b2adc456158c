"""Connected stream pairs over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.engine.stream import ClientStream, accept_stream


@asynccontextmanager
async def stream_pair() -> AsyncIterator[tuple[ClientStream, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Our side as a ClientStream, and the client's reader and writer."""
    ours, theirs = tcp_pair()
    server = await accept_stream(ours, None, 5.0)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield server, reader, writer
    finally:
        server.abort()
        writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)  # the loop closes the sockets; a relay's streams have no protocol to wait for


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    client.setblocking(False)
    server.setblocking(False)
    return server, client
