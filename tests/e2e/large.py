"""Bodies of any size, made as they are sent: an origin, a scanner that reads them as they come, and a client that looks."""

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import brotli

from tests.e2e.icap_peers import listening
from tests.e2e.running import Running
from tests.servers import EICAR

BLOCK = bytes(range(256)) * 256
"""64 KiB that every generated body repeats."""


def virus(data: bytes) -> bool:
    return EICAR in data


@dataclass
class Transfer:
    """One request at the origin."""

    target: str
    sent: int = 0
    received: int = 0
    sha256: str = ""
    broken: bool = False
    """The other side went away before the end."""


@dataclass
class BigOrigin:
    """``/gen?size=N``: so many bytes. ``chunked``: without a length. ``at=M``: with the virus at that offset. ``stop=M``:
    the connection ends there. ``hold=M``: stands still there until ``go`` is set. ``packed``: with Brotli. ``named=NAME``: with
    a Content-Disposition and a cookie.
    POST: takes what comes."""

    port: int = 0
    go: threading.Event = field(default_factory=threading.Event)
    transfers: list[Transfer] = field(default_factory=list)

    def of(self, containing: str) -> Transfer:
        return next(each for each in self.transfers if containing in each.target)


def piece(offset: int, size: int, at: int) -> bytes:
    """Bytes of a generated body."""
    data = BLOCK[:size]
    if at >= 0 and offset <= at < offset + size:
        assert at + len(EICAR) <= offset + size
        data = data[: at - offset] + EICAR + data[at - offset + len(EICAR) :]
    return data


def digest(size: int) -> str:
    """SHA-256 of a generated body without a virus."""
    value = hashlib.sha256()
    for _ in range(size // len(BLOCK)):
        value.update(BLOCK)
    value.update(BLOCK[: size % len(BLOCK)])
    return value.hexdigest()


@contextlib.contextmanager
def big_origin(certificate: tuple[Path, Path] | None = None) -> Iterator[BigOrigin]:
    """Over TLS with a certificate; HTTP/1.1."""
    origin = BigOrigin()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

    def serve(sock: socket.socket) -> None:
        sock.settimeout(60)
        with context.wrap_socket(sock, server_side=True) if context else contextlib.nullcontext(sock) as connection:
            file = connection.makefile("rb")
            while _answer(origin, connection, file):
                pass

    with listening(serve) as origin.port:
        yield origin


def _answer(origin: BigOrigin, sock: socket.socket, file: object) -> bool:
    reader = file  # type: ignore[var-annotated]
    line = reader.readline().decode()  # type: ignore[attr-defined]
    if not line:
        return False
    method, target, _ = line.split(" ")
    fields = {}
    while each := reader.readline().strip():  # type: ignore[attr-defined]
        name, _, value = each.decode("latin-1").partition(":")
        fields[name.lower()] = value.strip()
    transfer = Transfer(target)
    origin.transfers.append(transfer)
    try:
        if method == "POST":
            _take(reader, fields, transfer)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return True
        return _give(origin, sock, transfer)
    except OSError:
        transfer.broken = True
        raise


def _take(reader: object, fields: dict[str, str], transfer: Transfer) -> None:
    value = hashlib.sha256()
    while True:
        chunked = fields.get("transfer-encoding") == "chunked"
        left = int(reader.readline(), 16) if chunked else int(fields["content-length"])  # type: ignore[attr-defined]
        end = not left
        while left:
            data = reader.read(min(left, 1 << 16))  # type: ignore[attr-defined]
            if not data:
                transfer.broken = True
                raise OSError("broken off")
            value.update(data)
            left -= len(data)
            transfer.received += len(data)
        if chunked:
            reader.readline()  # type: ignore[attr-defined]
        if end or not chunked:
            break
    transfer.sha256 = value.hexdigest()


def _give(origin: BigOrigin, sock: socket.socket, transfer: Transfer) -> bool:
    query = {name: values[0] for name, values in parse_qs(urlsplit(transfer.target).query, keep_blank_values=True).items()}
    size, at, hold, stop = (int(query.get(name, -1)) for name in ("size", "at", "hold", "stop"))
    chunked = "chunked" in query
    kind = query.get("type", "application/octet-stream")
    if "packed" in query:
        _give_packed(sock, piece(0, size, at))
        return True
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    if "named" in query:
        framing += f'\r\nContent-Disposition: inline; filename="{query["named"]}"\r\nSet-Cookie: session=secret'
    sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n".encode())
    while transfer.sent < size:
        if 0 <= hold <= transfer.sent:
            assert origin.go.wait(60)
            hold = -1
        if 0 <= stop <= transfer.sent:
            return False
        data = piece(transfer.sent, min(len(BLOCK), size - transfer.sent), at)
        sock.sendall(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        transfer.sent += len(data)
    if chunked:
        sock.sendall(b"0\r\n\r\n")
    return True


def _give_packed(sock: socket.socket, data: bytes) -> None:
    packed = brotli.compress(data, quality=1)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


_OPTIONS = (
    b'ICAP/1.0 200 OK\r\nMethods: REQMOD, RESPMOD\r\nISTag: "big"\r\nAllow: 204\r\nPreview: 1024\r\nOptions-TTL: 3600\r\n'
    b"Encapsulated: null-body=0\r\n\r\n"
)
_CLEAN = b'ICAP/1.0 204 No Content\r\nISTag: "big"\r\nEncapsulated: null-body=0\r\n\r\n'
_PAGE = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\n"
_INFECTED = (
    b'ICAP/1.0 200 OK\r\nISTag: "big"\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;\r\n'
    b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(_PAGE) + _PAGE + b"3\r\nbad\r\n0\r\n\r\n"
)


@dataclass
class StreamScanner:
    """An ICAP service that looks for the test virus in what streams by, and holds nothing. What the URL says: ``/wait``:
    the verdict waits until ``go`` is set. ``/early``: passes at the preview. ``/slow``: takes nothing until ``go``."""

    port: int = 0
    go: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[str, int]] = field(default_factory=list)
    """URL and bytes of each scan that ended."""
    broken: int = 0

    @property
    def uri(self) -> str:
        return f"icap://127.0.0.1:{self.port}/scan"

    def bytes_of(self, containing: str) -> list[int]:
        return [size for url, size in self.seen if containing in url]


@contextlib.contextmanager
def stream_scanner() -> Iterator[StreamScanner]:
    scanner = StreamScanner()

    def serve(sock: socket.socket) -> None:
        sock.settimeout(60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = sock.makefile("rb", 1 << 18)
        while head := _head(file):
            _scan(scanner, sock, file, head)

    with listening(serve) as scanner.port:
        yield scanner


def _head(file: object) -> bytes:
    head = b""
    while line := file.readline():  # type: ignore[attr-defined]
        head += line
        if line == b"\r\n":
            break
    return head


def _scan(scanner: StreamScanner, sock: socket.socket, file: object, head: bytes) -> None:
    if head.startswith(b"OPTIONS"):
        sock.sendall(_OPTIONS)
        return
    offset = int(head.rpartition(b"-body=")[2].split(b"\r\n")[0])
    inside = file.read(offset)  # type: ignore[attr-defined]
    url = inside.split(b" ")[1].decode()
    if b"null-body" in head:
        sock.sendall(_CLEAN)
        return
    found, size, ieof = _chunks(file, b"")
    if "/slow" in url:
        assert scanner.go.wait(60)
    if not ieof and b"Preview:" in head and "/early" not in url:
        sock.sendall(b"ICAP/1.0 100 Continue\r\n\r\n")
        more, rest, _ = _chunks(file, found[1])
        found, size = (found[0] or more[0], b""), size + rest
    if "/wait" in url:
        assert scanner.go.wait(60)
    scanner.seen.append((url, size))
    sock.sendall(_INFECTED if found[0] else _CLEAN)


def _chunks(file: object, carried: bytes) -> tuple[tuple[bool, bytes], int, bool]:
    """Whether the virus was in it, with what was carried over from before; the size; whether ``ieof`` ended it."""
    found, total = False, 0
    while True:
        line = file.readline()  # type: ignore[attr-defined]
        if not line:
            raise OSError("broken off")
        size = int(line.partition(b";")[0], 16)
        if not size:
            file.readline()  # type: ignore[attr-defined]
            return (found, carried), total, b"ieof" in line
        while size:
            data = file.read(min(size, 1 << 18))  # type: ignore[attr-defined]
            if not data:
                raise OSError("broken off")
            found = found or virus(carried + data)
            carried = data[-len(EICAR) :]
            size -= len(data)
            total += len(data)
        file.readline()  # type: ignore[attr-defined]


def memory(pid: int) -> int:
    """Peak of a process's resident memory, in bytes."""
    line = next(row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def held_bodies(appliance: Running) -> int:
    """Bytes of bodies that its workers hold on disk; no name leads to them."""
    total = 0
    for pid in appliance.child_pids("worker"):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if "/bodies/" in str(link.readlink()):
                    total += link.stat().st_size
    return total
