"""Many requests of mixed kinds at one time, each with a connection of its own and an outcome of its own."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import h2.config
import h2.connection
import h2.events

PATIENCE = 45.0
"""Seconds after which a request that has not ended is given up: no outcome, which is a failure of the proxy."""

CLOSED = 0
"""Status of a request whose connection was closed before the answer was complete."""
HUNG = -1
"""Status of a request that did not end."""


@dataclass(frozen=True)
class Job:
    """``way``: http (absolute form), connect, or socks. ``secure``: TLS inside the tunnel, ``h2`` with HTTP/2."""

    number: int
    kind: str
    way: str
    host: str
    port: int
    path: str
    secure: bool = False
    h2: bool = False
    upload: bytes = b""

    @property
    def method(self) -> str:
        return "POST" if self.upload else "GET"


@dataclass(frozen=True)
class Outcome:
    job: Job
    status: int
    body: bytes = b""
    error: str = ""


class Load:
    """Runs jobs against an appliance's listeners; ``at`` calls functions when so many jobs have begun."""

    def __init__(self, http_port: int, socks_port: int, ca: Path, width: int) -> None:
        self._ports = {"http": http_port, "connect": http_port, "socks": socks_port}
        self._contexts = {proto: ssl.create_default_context(cafile=str(ca)) for proto in ("http/1.1", "h2")}
        for proto, context in self._contexts.items():
            context.set_alpn_protocols([proto])
        self._width = width
        self._at: dict[int, Callable[[], object]] = {}
        self.outcomes: list[Outcome] = []

    def at(self, count: int, do: Callable[[], object]) -> None:
        """Run ``do`` in a thread when ``count`` jobs have been taken. New jobs wait for it; those under way do not."""
        self._at[count] = do

    async def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        width = asyncio.Semaphore(self._width)
        async with asyncio.TaskGroup() as group:
            for taken, job in enumerate(jobs):
                if do := self._at.get(taken):
                    await asyncio.to_thread(do)
                await width.acquire()
                group.create_task(self._one(job, width))
        return self.outcomes

    @property
    def statuses(self) -> Counter[tuple[str, int]]:
        return Counter((outcome.job.kind, outcome.status) for outcome in self.outcomes)

    async def _one(self, job: Job, width: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                outcome = await self._attempt(job)
        except TimeoutError:
            outcome = Outcome(job, HUNG)
        finally:
            width.release()
        self.outcomes.append(outcome)

    async def _attempt(self, job: Job) -> Outcome:
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._ports[job.way], limit=2**20)
            await self._enter(job, reader, writer)
            if job.secure:
                context = self._contexts["h2" if job.h2 else "http/1.1"]
                await writer.start_tls(context, server_hostname=job.host, ssl_handshake_timeout=PATIENCE)
            status, body = await (_http2 if job.h2 else _http1)(job, reader, writer)
            return Outcome(job, status, body)
        except (OSError, EOFError) as error:
            return Outcome(job, CLOSED, error=f"{type(error).__name__}: {error}")
        finally:
            if writer is not None:
                writer.transport.abort()

    async def _enter(self, job: Job, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open the tunnel, if there is one."""
        target = f"{job.host}:{job.port}"
        if job.way == "connect":
            writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(f"CONNECT: {head[:60]!r}")
        elif job.way == "socks":
            writer.write(b"\x05\x01\x00")
            await reader.readexactly(2)
            name = job.host.encode()
            writer.write(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + job.port.to_bytes(2))
            answer = await reader.readexactly(10)
            if answer[1]:
                raise ConnectionError(f"SOCKS: {answer[1]}")


async def _http1(job: Job, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
    authority = f"{job.host}:{job.port}"
    target = f"http://{authority}{job.path}" if job.way == "http" else job.path
    length = f"Content-Length: {len(job.upload)}\r\n" if job.upload else ""
    writer.write(f"{job.method} {target} HTTP/1.1\r\nHost: {authority}\r\n{length}\r\n".encode() + job.upload)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ")[1])
    _, found, rest = head.partition("\r\ncontent-length:")
    if not found:
        raise EOFError("an answer without a length")
    return status, await reader.readexactly(int(rest.split("\r\n")[0]))


async def _http2(job: Job, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
    if writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
        raise ConnectionError("no HTTP/2")
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    head = [(":method", job.method), (":scheme", "https"), (":authority", f"{job.host}:{job.port}"), (":path", job.path)]
    client.send_headers(1, head, end_stream=not job.upload)
    for start in range(0, len(job.upload), 16_384):
        piece = job.upload[start : start + 16_384]
        client.send_data(1, piece, end_stream=start + len(piece) == len(job.upload))
    status, body = 0, b""
    while True:
        writer.write(client.data_to_send())
        data = await reader.read(65_536)
        if not data:
            raise EOFError("closed")
        for event in client.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                status = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
                client.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.StreamEnded):
                with contextlib.suppress(ConnectionError):
                    client.close_connection()
                    writer.write(client.data_to_send())
                return status, body
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise ConnectionError(f"{event!r}")
