"""A small HTTP/1.1 server to try the appliance on: `arcus demo origin`. Not made for anything else."""

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from appliance.demo.identity import NAMES, ensure_ca, server_context

__all__ = ["NAMES", "Origin", "eicar", "ensure_ca", "serve"]

logger = logging.getLogger(__name__)

MAX_HEADER: Final = 64 * 1024
MAX_BYTES: Final = 1 << 30
MAX_SLOW: Final = 60.0
IDLE: Final = 60.0
_BLOCK: Final = 64 * 1024
_TEXTS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 411: "Length Required"}


def eicar() -> bytes:
    """The EICAR test file, put together here so that no scanner takes this source for it."""
    parts = (b"X5O!P%@AP[4", b"\\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-", b"ANTIVIRUS-TEST-", b"FILE!$H+H*")
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: dict[str, list[str]]
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    """``length`` None: as long as the connection."""

    status: int
    body: AsyncIterator[bytes]
    length: int | None
    type: str = "text/plain; charset=utf-8"


class Origin:
    """Serves any number of connections; ``requests`` counts."""

    def __init__(self) -> None:
        self.requests = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests += 1
                if not await self._answer(request, reader, writer):
                    break
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError) as error:
            logger.debug("demo origin: %s", error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection can go on."""
        body = _Body(reader, request.fields)
        if request.fields.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        answer = await _route(request)(request, body)
        await body.drain()
        keep = answer.length is not None and request.fields.get("connection", "").lower() != "close"
        length = f"Content-Length: {answer.length}\r\n" if answer.length is not None else ""
        writer.write(
            f"HTTP/1.1 {answer.status} {_TEXTS[answer.status]}\r\nServer: arcus-demo\r\nContent-Type: {answer.type}\r\n"
            f"{length}Cache-Control: no-store\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n".encode()
        )
        async for block in answer.body:
            if request.method != "HEAD":
                writer.write(block)
            await writer.drain()
        return keep


async def _read_request(reader: asyncio.StreamReader) -> _Request | None:
    async with asyncio.timeout(IDLE):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    parts = urlsplit(target)
    return _Request(method, parts.path or "/", parse_qs(parts.query), fields)


class _Body:
    """A request's body, read at most once."""

    def __init__(self, reader: asyncio.StreamReader, fields: dict[str, str]) -> None:
        self._reader = reader
        self._chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        self._left = int(fields.get("content-length", "0"))
        self._done = False

    async def blocks(self) -> AsyncIterator[bytes]:
        """Raises EOFError when the body ends early, ValueError when it is malformed."""
        if self._done:
            return
        self._done = True
        while size := await self._next_size():
            yield await self._reader.readexactly(size)
            if self._chunked:
                await self._reader.readexactly(2)

    async def _next_size(self) -> int:
        if self._chunked:
            size = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
            if size == 0:
                while await self._reader.readuntil(b"\r\n") != b"\r\n":
                    pass
            return size
        size = min(self._left, _BLOCK)
        self._left -= size
        return size

    async def drain(self) -> None:
        async for _ in self.blocks():
            pass


type _Handler = Callable[[_Request, _Body], Awaitable[_Answer]]


def _route(request: _Request) -> _Handler:
    if request.path.startswith("/bytes/"):
        return _bytes
    return _ROUTES.get(request.path, _not_found)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _text(status: int, text: str) -> _Answer:
    data = text.encode()
    return _Answer(status, _once(data), len(data))


async def _hello(request: _Request, _body: _Body) -> _Answer:
    return _text(200, f"hello from the demo origin, host {request.fields.get('host', '?')}\n")


async def _eicar(_request: _Request, _body: _Body) -> _Answer:
    data = eicar()
    return _Answer(200, _once(data), len(data), "application/octet-stream")


async def _bytes(request: _Request, _body: _Body) -> _Answer:
    number = request.path.removeprefix("/bytes/")
    if not (number.isascii() and number.isdigit() and len(number) < 11 and int(number) <= MAX_BYTES):
        return _text(400, f"/bytes/N, N from 0 to {MAX_BYTES}\n")
    return _Answer(200, _zeros(int(number)), int(number), "application/octet-stream")


async def _zeros(total: int) -> AsyncIterator[bytes]:
    for start in range(0, total, _BLOCK):
        yield bytes(min(_BLOCK, total - start))


async def _upload(request: _Request, body: _Body) -> _Answer:
    if request.method not in ("POST", "PUT"):
        return _text(405, "POST a body to /upload\n")
    digest, size = hashlib.sha256(), 0
    async for block in body.blocks():
        digest.update(block)
        size += len(block)
    return _text(200, f"{size} {digest.hexdigest()}\n")


async def _sse(_request: _Request, _body: _Body) -> _Answer:
    return _Answer(200, _events(), None, "text/event-stream")


async def _events() -> AsyncIterator[bytes]:
    for number in range(5):
        yield f"id: {number}\ndata: event {number}\n\n".encode()
        await asyncio.sleep(0.2)


async def _slow(request: _Request, _body: _Body) -> _Answer:
    """``/slow?seconds=N``, 2 by default."""
    await asyncio.sleep(min(MAX_SLOW, abs(float(request.query.get("seconds", ["2"])[0]))))
    return _text(200, "at last\n")


async def _not_found(_request: _Request, _body: _Body) -> _Answer:
    return _text(404, "there is /, /eicar.com, /bytes/N, /sse, /slow?seconds=N and POST /upload\n")


_ROUTES: Final[dict[str, _Handler]] = {"/": _hello, "/eicar.com": _eicar, "/upload": _upload, "/sse": _sse, "/slow": _slow}


async def serve(directory: Path, https: socket.socket, http: socket.socket, stop: asyncio.Event) -> None:
    """Serve on two sockets that are bound already, until ``stop``; connections still open are cut. Raises ConfigError."""
    origin = Origin()
    host = str(https.getsockname()[0])
    extra = (host,) if host not in ("0.0.0.0", "::") else ()
    secure = await asyncio.start_server(
        origin.handle, sock=https, ssl=server_context(directory, extra), limit=MAX_HEADER, ssl_handshake_timeout=10.0
    )
    plain = await asyncio.start_server(origin.handle, sock=http, limit=MAX_HEADER)
    try:
        await stop.wait()
    finally:
        for server in (secure, plain):
            server.close()
            server.abort_clients()
