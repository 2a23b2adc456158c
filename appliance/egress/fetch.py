"""Small things fetched over plain HTTP on a server's say-so: what its certificate names may be an address of ours.

Every address is judged after resolution and again after the connect, before a byte is sent. Only http, only a few
redirects, only so many bytes and seconds. The answer is never shown to anybody.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urljoin, urlsplit

from appliance.domain.errors import TaskError
from appliance.domain.notes import ConnNotes
from appliance.domain.target import Target, normalise_host, parse_ip
from appliance.egress.escaper import Dialed
from appliance.egress.guard import EgressGuard

MAX_REDIRECTS: Final = 2
MAX_HEAD: Final = 16_384
MAX_URL: Final = 2_048
MAX_CHUNKS: Final = 16_384
"""Servers write chunks of some kilobytes. Each costs time, and ten megabytes in chunks of a byte would cost minutes."""
READ: Final = 65_536

type Resolve = Callable[[ConnNotes, Target], Awaitable[tuple[str, ...]]]


class Dial(Protocol):
    def __call__(self, conn: ConnNotes, address: tuple[str, int], protocol: str) -> Awaitable[Dialed]: ...


class FetchError(Exception):
    """Nothing was fetched; the text says why."""


@dataclass(frozen=True, slots=True)
class Fetcher:
    """``timeout`` in seconds for all of one fetch, ``max_size`` in bytes of its body."""

    dial: Dial
    resolve: Resolve
    guard: EgressGuard
    timeout: float
    max_size: int

    async def fetch(self, conn: ConnNotes, url: str, body: bytes = b"", content_type: str = "") -> bytes:
        """The body of a 200 answer to GET, or to POST when there is a ``body``. Raises FetchError."""
        try:
            async with asyncio.timeout(self.timeout):
                for _ in range(MAX_REDIRECTS + 1):
                    status, location, data = await self._once(conn, url, body, content_type)
                    if status == 200:
                        return data
                    if status not in (301, 302, 307, 308) or not location:
                        raise FetchError(f"{url}: status {status}")
                    url = urljoin(url, location)
                raise FetchError(f"{url}: more than {MAX_REDIRECTS} redirects")
        except TimeoutError as error:
            raise FetchError(f"{url}: not within {self.timeout:g} s") from error
        except (TaskError, OSError, EOFError, ValueError) as error:
            raise FetchError(f"{url}: {error}") from error

    async def _once(self, conn: ConnNotes, url: str, body: bytes, content_type: str) -> tuple[int, str, bytes]:
        target, path = parse_url(url)
        await self._judge(conn, target)
        dialed = await self.dial(conn, (target.host, target.port), "http")
        try:
            if dialed.notes.resolved_ip and (why := self.guard.refusal(dialed.notes.resolved_ip, target.port)):
                raise FetchError(f"{url}: {why}")
            dialed.writer.write(_request(target, url if dialed.absolute_form else path, body, content_type, dialed))
            await dialed.writer.drain()
            return await _answer(dialed.reader, self.max_size)
        finally:
            dialed.writer.transport.abort()

    async def _judge(self, conn: ConnNotes, target: Target) -> None:
        literal = parse_ip(target.host)
        for address in (target.host,) if literal is not None else await self.resolve(conn, target):
            if why := self.guard.refusal(address, target.port):
                raise FetchError(f"{target}: {why}")


def parse_url(url: str) -> tuple[Target, str]:
    """Where a plain-HTTP URL leads, and the path with its query. Raises ValueError for every other URL."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("not a URL")
    parts = urlsplit(url)
    if parts.scheme.lower() != "http" or "@" in parts.netloc or not parts.hostname:
        raise ValueError("not a plain http URL")
    path = parts.path or "/"
    return Target(normalise_host(parts.hostname), parts.port or 80), f"{path}?{parts.query}" if parts.query else path


def _request(target: Target, path: str, body: bytes, content_type: str, dialed: Dialed) -> bytes:
    host = str(target).removesuffix(":80")
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"Host: {host}", "Connection: close", "Accept-Encoding: identity"]
    if body:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    if dialed.proxy_authorization:
        lines.append(f"Proxy-Authorization: {dialed.proxy_authorization}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


async def _answer(reader: asyncio.StreamReader, limit: int) -> tuple[int, str, bytes]:
    """Status, Location and body. Raises FetchError, OSError, EOFError or ValueError."""
    buffer = _Buffer(reader, limit)
    status, _, *_rest = (await buffer.until(b"\r\n\r\n", MAX_HEAD)).partition(b"\r\n")
    version, _, rest = status.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise FetchError("not HTTP")
    fields = _fields(_rest[0])
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        body = await _chunked(buffer)
    elif (length := fields.get(b"content-length")) is not None:
        body = await buffer.exactly(_size(length, 10))
    else:
        body = await buffer.rest()
    return int(rest[:3]), fields.get(b"location", b"").decode("latin-1"), body


def _fields(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n") if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _chunked(buffer: "_Buffer") -> bytes:
    pieces: list[bytes] = []
    total = 0
    while size := _size((await buffer.until(b"\r\n", 256)).partition(b";")[0].strip(), 16):
        total += size
        buffer.check(total)
        if len(pieces) == MAX_CHUNKS:
            raise FetchError("cut into too many pieces")
        pieces.append(await buffer.exactly(size))
        await buffer.exactly(2)
    return b"".join(pieces)


def _size(text: bytes, base: int) -> int:
    digits = b"0123456789" if base == 10 else b"0123456789abcdefABCDEF"
    if not 0 < len(text) <= 12 or text.strip(digits):
        raise FetchError("a length that is none")
    return int(text, base)


class _Buffer:
    """What has arrived and is not consumed yet; never more than the limit and one read. Consuming moves a mark and copies
    nothing else, however small the pieces are that a server likes to send."""

    def __init__(self, reader: asyncio.StreamReader, limit: int) -> None:
        self._reader, self._limit = reader, limit
        self._data = bytearray()
        self._at = 0

    def check(self, size: int) -> None:
        if size > self._limit:
            raise FetchError(f"more than {self._limit} bytes")

    async def until(self, mark: bytes, limit: int) -> bytes:
        """Up to and without ``mark``, which is consumed."""
        searched = 0
        while (end := self._data.find(mark, self._at + searched)) < 0:
            searched = max(0, len(self._data) - self._at - len(mark) + 1)
            if searched > limit or not await self._more():
                raise FetchError("cut short, or a line without an end")
        found = bytes(self._data[self._at : end])
        self._at = end + len(mark)
        return found

    async def exactly(self, size: int) -> bytes:
        self.check(size)
        while len(self._data) - self._at < size:
            if not await self._more():
                raise FetchError("cut short")
        self._at += size
        return bytes(self._data[self._at - size : self._at])

    async def rest(self) -> bytes:
        while True:
            self.check(len(self._data) - self._at)
            if not await self._more():
                return bytes(self._data[self._at :])

    async def _more(self) -> bool:
        data = await self._reader.read(READ)
        del self._data[: self._at]
        self._at = 0
        self._data += data
        return bool(data)
