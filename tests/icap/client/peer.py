"""A scripted ICAP server: it says exactly the bytes it is told, and keeps every byte it was sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

OPTIONS = b'ICAP/1.0 200 OK\r\nMethods: REQMOD, RESPMOD\r\nISTag: "t1"\r\nAllow: 204\r\n%bEncapsulated: null-body=0\r\n\r\n'
NO_CONTENT = b'ICAP/1.0 204 Unmodified\r\nISTag: "t1"\r\n\r\n'


@dataclass
class Talk:
    """One connection, as a script sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    received: bytearray = field(default_factory=bytearray)

    async def head(self) -> bytes:
        """The ICAP head, and the encapsulated heads with it."""
        head = await self._read(self.reader.readuntil(b"\r\n\r\n"))
        offset = int(head.rpartition(b"-body=")[2].split(b"\r\n")[0])
        await self._read(self.reader.readexactly(offset))
        return head

    async def body(self) -> bytes:
        """Up to and including the next last chunk, raw."""
        return await self._read(self.reader.readuntil((b"\r\n0\r\n\r\n", b"0; ieof\r\n\r\n")))

    async def exactly(self, size: int) -> bytes:
        return await self._read(self.reader.readexactly(size))

    async def _read(self, reading: Awaitable[bytes]) -> bytes:
        data = await reading
        self.received += data
        return data

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


type Script = Callable[[Talk], Awaitable[None]]


@dataclass
class ScriptedPeer:
    port: int = 0
    talks: list[Talk] = field(default_factory=list)
    options_asked: int = 0
    open_now: int = 0
    most_open: int = 0

    @property
    def uri(self) -> str:
        return f"icap://127.0.0.1:{self.port}/scan"

    @property
    def received(self) -> bytes:
        return b"".join(bytes(talk.received) for talk in self.talks)


@contextlib.asynccontextmanager
async def scripted(script: Script, options: bytes | None = OPTIONS % b"") -> AsyncIterator[ScriptedPeer]:
    """Run ``script`` for each message on each connection, until it closes; OPTIONS is answered with ``options``.

    ``options`` None: the script answers OPTIONS itself.
    """
    peer = ScriptedPeer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = Talk(reader, writer, len(peer.talks))
        peer.talks.append(talk)
        peer.open_now += 1
        peer.most_open = max(peer.most_open, peer.open_now)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                await _serve_one(peer, talk, script, options)
        peer.open_now -= 1
        writer.close()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(start, "127.0.0.1", 0, limit=1 << 24)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _serve_one(peer: ScriptedPeer, talk: Talk, script: Script, options: bytes | None) -> None:
    first = await talk.reader.readexactly(1)
    method = first + await talk.reader.readexactly(6)
    talk.received += method
    if method == b"OPTIONS":
        peer.options_asked += 1
        if options is not None:
            await talk.head()
            await talk.say(options)
            return
    await script(talk)
