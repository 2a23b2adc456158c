"""A running server and raw ICAP messages for it."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from icap.protocol.headers import Headers
from icap.server.adapt import standard_services
from icap.server.exchange import Account
from icap.server.scanners.scanner import UNKNOWN, Grounds, Scanner, ScannerHealth, ScanOutcome, ScanResult, Subject
from icap.server.server import IcapServer
from icap.server.service import Service
from icap.server.settings import ServerSettings

REQUEST_HEAD = b"GET http://origin.test/file HTTP/1.1\r\nHost: origin.test\r\n\r\n"
PATIENCE = 90
"""Seconds that an answer may take on a busy machine, with the sending of its message."""
RESPONSE_HEAD = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Type: text/plain\r\nset-cookie: b=2\r\n\r\n"


@dataclass
class Ledger:
    """A watcher that writes down."""

    accounts: list[Account] = field(default_factory=list)
    refusals: int = 0
    open: int = 0

    def connections(self, count: int) -> None:
        self.open = count

    def refused(self) -> None:
        self.refusals += 1

    def finished(self, account: Account) -> None:
        self.accounts.append(account)


@dataclass
class WholeBodyScanner:
    """A scanner in this process: infected when ``needle`` is in the body. ``delay`` in seconds, after the body."""

    needle: bytes = b"\0never\0"
    delay: float = 0.0
    seen: list[bytes] = field(default_factory=list)
    started: int = 0
    engine: str = "Test 1/1"
    fingerprint: str = "1"
    grounds: Grounds = Grounds.BODY
    health: ScannerHealth = field(default_factory=lambda: ScannerHealth(up=True))

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        self.started += 1
        body = b"".join([chunk async for chunk in chunks])
        await asyncio.sleep(self.delay)
        self.seen.append(body)
        outcome = ScanOutcome.INFECTED if self.needle in body else ScanOutcome.CLEAN
        return ScanResult(outcome, "Needle" if outcome is ScanOutcome.INFECTED else "", self.engine, size=len(body))

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return


@dataclass
class Running:
    server: IcapServer
    port: int
    ledger: Ledger

    async def open(self) -> "Client":
        return Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24))

    async def ask(self, message: bytes) -> "Answer":
        """One message on a connection of its own, and its answer."""
        async with await self.open() as client:
            return await client.ask(message)

    async def raw(self, data: bytes, *, end: bool = True) -> bytes:
        """Everything the server says to ``data`` until it closes; ``end``: we close our side after sending."""
        async with await self.open() as client:
            client.writer.write(data)
            if end and client.writer.can_write_eof():
                client.writer.write_eof()
            return await asyncio.wait_for(client.rest(), PATIENCE)


@contextlib.asynccontextmanager
async def serving(
    scanner: Scanner | None = None,
    settings: ServerSettings | None = None,
    services: Mapping[str, Service] | None = None,
) -> AsyncIterator[Running]:
    settings = settings or ServerSettings(tick=0.02)
    ledger = Ledger()
    found = services if services is not None else standard_services(scanner or WholeBodyScanner(), settings, 32)
    server = IcapServer(found, settings, ledger)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start([listener])
    try:
        yield Running(server, listener.getsockname()[1], ledger)
    finally:
        await server.stop(grace=1.0)
        if scanner is not None:
            await scanner.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    head: bytes
    """The encapsulated head."""
    body: bytes | None
    """None when the answer has none."""


class Client:
    """A strict little client. It shares no code with the server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def ask(self, message: bytes) -> Answer:
        self.writer.write(message)
        return await self.answer()

    async def answer(self) -> Answer:
        return await asyncio.wait_for(self._answer(), PATIENCE)

    async def proceeds(self) -> None:
        """100 Continue and nothing else has come."""
        assert await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE) == b"ICAP/1.0 100 Continue\r\n\r\n"

    async def rest(self) -> bytes:
        try:
            return await self.reader.read(-1)
        except ConnectionResetError:
            return b""

    async def _answer(self) -> Answer:
        start, *lines = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
        version, status, _ = start.split(" ", 2)
        assert version == "ICAP/1.0"
        headers = Headers(tuple((line.partition(": ")[0], line.partition(": ")[2]) for line in lines))
        sections = re.findall(r"([a-z]+-[a-z]+)=([0-9]+)", headers.first("Encapsulated") or "")
        assert sections, "no Encapsulated"
        head = await self.reader.readexactly(int(sections[-1][1]))
        assert not head or head.endswith(b"\r\n\r\n")
        body = None if sections[-1][0] == "null-body" else await self._body()
        return Answer(int(status), headers, head, body)

    async def _body(self) -> bytes:
        pieces = []
        while size := int((await self.reader.readline()).strip(), 16):
            pieces.append(await self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return b"".join(pieces)


def chunked(body: bytes, size: int = 65536) -> bytes:
    """The chunks without the last one."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def options(service: str = "respmod") -> bytes:
    return f"OPTIONS icap://server.test/{service} ICAP/1.0\r\nHost: server.test\r\n\r\n".encode()


def respmod(body: bytes | None, *lines: str, service: str = "respmod", head: bytes = RESPONSE_HEAD) -> bytes:
    """A whole RESPMOD; with a ``Preview`` line only its heads, the body is then the caller's."""
    sections = f"req-hdr=0, res-hdr={len(REQUEST_HEAD)}"
    return _message("RESPMOD", service, lines, sections, REQUEST_HEAD + head, "res-body", body)


def reqmod(body: bytes | None, *lines: str, service: str = "reqmod", head: bytes = REQUEST_HEAD) -> bytes:
    return _message("REQMOD", service, lines, "req-hdr=0", head, "req-body", body)


def _message(
    method: str, service: str, lines: tuple[str, ...], sections: str, heads: bytes, name: str, body: bytes | None
) -> bytes:
    name = "null-body" if body is None else name
    fields = "".join(f"{line}\r\n" for line in lines)
    start = f"{method} icap://server.test/{service} ICAP/1.0\r\nHost: server.test\r\n{fields}"
    head = f"{start}Encapsulated: {sections}, {name}={len(heads)}\r\n\r\n".encode() + heads
    if body is None or any(line.startswith("Preview") for line in lines):
        return head
    return head + chunked(body) + b"0\r\n\r\n"
