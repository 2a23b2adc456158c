"""An ICAP service that fails as chance says, and writes down each message that it really found clean."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

OPTIONS = (
    b'ICAP/1.0 200 OK\r\nMethods: REQMOD, RESPMOD\r\nISTag: "f"\r\nAllow: 204\r\nOptions-TTL: 3600\r\n'
    b"Encapsulated: null-body=0\r\n\r\n"
)
CLEAN = b'ICAP/1.0 204 No Content\r\nISTag: "f"\r\nEncapsulated: null-body=0\r\n\r\n'
STATUS = b'ICAP/1.0 %d Bad\r\nISTag: "f"\r\nEncapsulated: null-body=0\r\n\r\n'
INFECTED = b'ICAP/1.0 204 No Content\r\nISTag: "f"\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Chance;\r\n\r\n'
HEADS = {
    "RESPMOD": (b"res", b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"),
    "REQMOD": (b"req", b"POST http://h.test/x HTTP/1.1\r\nHost: h.test\r\nContent-Length: 3000\r\n\r\n"),
}


@dataclass
class Talk:
    """One message on one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    method: str
    has_body: bool

    async def read_body(self) -> None:
        if self.has_body:
            await self.reader.readuntil(b"0\r\n\r\n")

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


type Act = Callable[[Talk], Awaitable[bool]]
"""Whether the connection goes on."""


def _answer(data: bytes, *, goes_on: bool = True, reads: bool = True) -> Act:
    async def act(talk: Talk) -> bool:
        if reads:
            await talk.read_body()
        await talk.say(data)
        return goes_on

    return act


async def _reset(talk: Talk) -> bool:
    talk.writer.transport.abort()
    return False


async def _reset_after_the_body(talk: Talk) -> bool:
    await talk.read_body()
    return await _reset(talk)


async def _hang(talk: Talk) -> bool:
    await talk.read_body()
    await talk.reader.read()
    return False


async def _drip(talk: Talk) -> bool:
    """An answer that never comes to its end, a byte at a time."""
    await talk.read_body()
    await talk.say(b"ICAP/1.0 204 No Content\r\nX-Drip: ")
    while True:
        await talk.say(b".")
        await asyncio.sleep(0.1)


async def _short(talk: Talk) -> bool:
    """The body ends before the length that its own head states: so c-icap breaks off what it found infected."""
    await talk.read_body()
    name, head = HEADS[talk.method]
    opening = b'ICAP/1.0 200 OK\r\nISTag: "f"\r\nEncapsulated: %b-hdr=0, %b-body=%d\r\n\r\n' % (name, name, len(head))
    await talk.say(opening + head + b"3\r\nabc\r\n0\r\n\r\n")
    return True


FAULTS: dict[str, tuple[int, Act]] = {
    "status_500": (20, _answer(STATUS % 500)),
    "status_503": (5, _answer(STATUS % 503)),
    "status_404": (5, _answer(STATUS % 404)),
    "garbage": (10, _answer(b"\x00\xff no ICAP\r\n\r\n", goes_on=False)),
    "half": (10, _answer(CLEAN[:-7], goes_on=False)),
    "wrong_offsets": (10, _answer(CLEAN.replace(b"204", b"200").replace(b"null-body=0", b"res-hdr=5, res-body=2"))),
    "endless_chunk": (10, _answer(b"ICAP/1.0 200 OK\r\nEncapsulated: opt-body=0\r\n\r\nfffffffffffffffff\r\n", goes_on=False)),
    "reset_at_once": (10, _reset),
    "reset_after": (10, _reset_after_the_body),
    "hang": (4, _hang),
    "drip": (2, _drip),
    "short": (10, _short),
    "infected": (10, _answer(INFECTED)),
}  # fmt: skip
CONVICTIONS = frozenset({"short", "infected"})
"""These are verdicts, and no policy for failures may pass what they are about."""


@dataclass
class FaultyIcap:
    """``cleared``: messages that got a whole and right "unmodified"; ``convicted``: those that got a verdict against them. Both
    by method and number."""

    chance: random.Random
    cleared: set[tuple[str, int]] = field(default_factory=set)
    convicted: set[tuple[str, int]] = field(default_factory=set)
    faults: Counter[str] = field(default_factory=Counter)
    transactions: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._start, "127.0.0.1", self.port, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Nobody listens any more, and what was under way is cut."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, EOFError):
            return
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"OPTIONS"):
            writer.write(OPTIONS)
            return True
        method = head.partition(b" ")[0].decode()
        inside = await reader.readexactly(int(head.rpartition(b"-body=")[2].split(b"\r\n")[0]))
        number = re.search(rb"/n(\d+)", inside)
        assert number is not None
        key = (method, int(number[1]))
        talk = Talk(reader, writer, method, b"null-body" not in head)
        self.transactions += 1
        if self.chance.random() > 0.15:
            await talk.read_body()
            self.cleared.add(key)
            await talk.say(CLEAN)
            return True
        return await self._fail(talk, key)

    async def _fail(self, talk: Talk, key: tuple[str, int]) -> bool:
        name = self.chance.choices(list(FAULTS), [weight for weight, _ in FAULTS.values()])[0]
        self.faults[name] += 1
        if name in CONVICTIONS:
            self.convicted.add(key)
        return await FAULTS[name][1](talk)
