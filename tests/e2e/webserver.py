"""A web server that remembers what reached it: connections, requests, bodies. Tests ask it instead of believing ours."""

import asyncio
import base64
import contextlib
import hashlib
import random
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import trustme

from tests.servers import EICAR

MAX_HEADER = 256 * 1024
_WS_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


@lru_cache(maxsize=8)
def payload(size: int) -> bytes:
    """The body of ``/bytes/SIZE``: the same in every process, and nothing that compresses."""
    return random.Random(size).randbytes(size)


@dataclass(frozen=True)
class Seen:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebServer:
    """``accepted`` counts connections, before any byte. ``requests`` are complete: their body has been read."""

    ca_file: Path
    authority: trustme.CA
    port: int = 0
    tls_port: int = 0
    accepted: int = 0
    requests: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://origin.test:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"https://origin.test:{self.tls_port}"

    def seen(self, containing: str) -> list[Seen]:
        return [seen for seen in self.requests if containing in seen.target]

    def issue(self, directory: Path, *names: str) -> tuple[Path, Path]:
        """Files with a certificate of the same authority, and its key, for another server."""
        leaf = self.authority.issue_cert(*names)
        certificate, key = directory / "server.pem", directory / "server.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
        return certificate, key

    @property
    def infected(self) -> list[Seen]:
        """Requests that brought a virus here."""
        return [seen for seen in self.requests if EICAR in seen.body]


@contextlib.contextmanager
def webserver(
    directory: Path, host: str = "127.0.0.1", names: tuple[str, ...] = ("origin.test", "127.0.0.1")
) -> Iterator[WebServer]:
    """Serve on free ports, in a thread with a loop of its own. ``ca.pem`` in ``directory`` vouches for it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "origin-ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    state = WebServer(directory / "origin-ca.pem", authority)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(state, host, context, ready, stop)), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


async def _serve(state: WebServer, host: str, context: ssl.SSLContext, ready: threading.Event, stop: asyncio.Event) -> None:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.accepted += 1
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await _connection(state, reader, writer)
        except (OSError, EOFError, ValueError, asyncio.CancelledError):
            pass  # the other side has gone, which is its right; or the test is over
        finally:
            tasks.discard(task)
            writer.transport.abort()

    plain = await asyncio.start_server(serve, host, 0, limit=MAX_HEADER, backlog=1024)
    secure = await asyncio.start_server(serve, host, 0, limit=MAX_HEADER, ssl=context, backlog=1024)
    state.port, state.tls_port = (server.sockets[0].getsockname()[1] for server in (plain, secure))
    ready.set()
    await stop.wait()
    for server in (plain, secure):
        server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _connection(state: WebServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        if fields.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(reader, fields)
        state.requests.append(Seen(method, target, fields, body))
        await _answer(target, method, fields, body, reader, writer)
        await writer.drain()


async def _body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if fields.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(fields.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readline() != b"\r\n":
        pass
    return body


async def _answer(
    target: str, method: str, fields: dict[str, str], body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    path, _, query = target.partition("?")
    number = int(query) if query.isdigit() else 0
    if path.startswith("/bytes/"):
        _whole(writer, payload(int(path.split("/")[2])), "application/octet-stream", method)
    elif path.startswith("/eicar"):
        _whole(writer, EICAR, "application/octet-stream", method)
    elif path.startswith("/html"):
        _whole(writer, b"<html><head></head><body><p>hello</p></body></html>\n", "text/html", method)
    elif path.startswith("/sse"):
        await _pieces(writer, "text/event-stream", [b"data: %d\n\n" % n for n in range(3)], 0.05)
    elif path.startswith("/chunks"):
        await _pieces(writer, "application/octet-stream", [b"x" * 1024] * number, 0)
    elif path.startswith("/drip"):
        await _pieces(writer, "application/octet-stream", [b"x" * 1024] * number, 0.1)
    elif path.startswith("/wait"):
        await asyncio.sleep(number / 1000)
        _whole(writer, b"at last\n", "text/plain", method)
    elif path.startswith("/ws") and "sec-websocket-key" in fields:
        await _echo(fields["sec-websocket-key"], reader, writer)
    else:
        _whole(writer, f"{len(body)} {hashlib.sha256(body).hexdigest()}\n".encode(), "text/plain", method)


def _whole(writer: asyncio.StreamWriter, body: bytes, kind: str, method: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + (b"" if method == "HEAD" else body))


async def _pieces(writer: asyncio.StreamWriter, kind: str, pieces: list[bytes], pause: float) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for piece in pieces:
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
        await asyncio.sleep(pause)
    writer.write(b"0\r\n\r\n")


async def _echo(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """WebSocket messages below 126 bytes come back, until a close frame, which comes back as well."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + _WS_MAGIC).digest()).decode()
    fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    writer.write(f"HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n".encode())
    while True:
        first, size = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await reader.readexactly(size & 0x7F)))
        writer.write(bytes([first, len(data)]) + data)
        await writer.drain()
        if first & 0x0F == 8:
            raise EOFError
