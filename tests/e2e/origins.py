"""Origins for end-to-end tests: a server that keeps every byte it got, and certificates that the appliance trusts, or not."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme

type Respond = Callable[["Seen"], bytes | None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


@dataclass(frozen=True)
class Seen:
    """One request as it arrived. ``body`` is decoded, ``raw`` is not."""

    head: bytes
    body: bytes
    trailers: bytes = b""

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    def values(self, name: str) -> list[str]:
        lines = (line.decode("latin-1").partition(":") for line in self.head.split(b"\r\n")[1:] if line)
        return [value.strip() for key, _, value in lines if key.lower() == name.lower()]


def answer(body: bytes, status: str = "200 OK", *fields: str) -> bytes:
    """A response with a length."""
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Origin:
    """``accepted`` connections, ``requests`` in order, ``raw`` everything that arrived, a piece per connection."""

    respond: Respond
    context: ssl.SSLContext | None = None
    hook: Callable[[socket.socket], None] | None = None
    port: int = 0
    requests: list[Seen] = field(default_factory=list)
    raw: list[bytearray] = field(default_factory=list)
    accepted: int = 0
    hellos: list[str | None] = field(default_factory=list)

    def clear(self) -> None:
        self.requests.clear()
        self.raw.clear()
        self.accepted = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://origin.test:{self.port}"

    @property
    def bytes(self) -> bytes:
        return b"".join(self.raw)


@contextlib.contextmanager
def origin(
    respond: Respond | None = None,
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    hook: Callable[[socket.socket], None] | None = None,
) -> Iterator[Origin]:
    """Serve until the end of the block. ``hook`` takes over each connection (after TLS) instead of HTTP."""
    found = Origin(respond or (lambda _: OK), context, hook)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family, backlog=64)
    found.port = listener.getsockname()[1]
    thread = threading.Thread(target=_accept, args=(listener, found), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        listener.close()


def _accept(listener: socket.socket, found: Origin) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        found.accepted += 1
        threading.Thread(target=_serve, args=(sock, found), daemon=True).start()


def _serve(sock: socket.socket, found: Origin) -> None:
    sock.settimeout(30)
    with contextlib.suppress(OSError, EOFError), contextlib.ExitStack() as stack:
        stack.callback(sock.close)
        if found.context is not None:
            sock = found.context.wrap_socket(sock, server_side=True)
            stack.callback(sock.close)
        if found.hook is not None:
            found.hook(sock)
            return
        raw = bytearray()
        found.raw.append(raw)
        reader = _Reader(sock, raw)
        while (seen := reader.request()) is not None:
            found.requests.append(seen)
            reply = found.respond(seen)
            if reply is None:
                return
            sock.sendall(reply)


class _Reader:
    """HTTP/1 requests from a socket, framed as a plain reader would."""

    def __init__(self, sock: socket.socket, raw: bytearray) -> None:
        self._sock = sock
        self._raw = raw
        self._buffer = b""

    def _more(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise EOFError
        self._raw += data
        self._buffer += data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def request(self) -> Seen | None:
        try:
            head = self._until(b"\r\n\r\n")
        except EOFError:
            return None
        bare = Seen(head, b"")
        if "chunked" in "".join(bare.values("transfer-encoding")).lower():
            return self._chunked(head)
        length = bare.values("content-length")
        return Seen(head, self._exactly(int(length[0])) if length else b"")

    def _chunked(self, head: bytes) -> Seen:
        body = b""
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            body += self._exactly(size)
            self._exactly(2)
        trailers = b""
        while (line := self._until(b"\r\n")) != b"\r\n":
            trailers += line
        return Seen(head, body, trailers)


@dataclass
class Authority:
    """A CA for origins. ``pem`` is what the appliance is told to trust."""

    ca: trustme.CA
    directory: Path

    @property
    def pem(self) -> Path:
        path = self.directory / "origin-ca.pem"
        if not path.exists():
            self.ca.cert_pem.write_to_path(str(path))
        return path

    def context(self, *names: str, alpn: tuple[str, ...] = ("http/1.1",), expired: bool = False) -> ssl.SSLContext:
        """A server's context with a certificate for these names."""
        import datetime

        after = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) if expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or ("origin.test", "127.0.0.1")), not_after=after).configure_cert(context)
        context.set_alpn_protocols(list(alpn))
        return context

    def files(self, *names: str) -> tuple[Path, Path]:
        """Certificate with chain, and key, as files."""
        cert = self.ca.issue_cert(*(names or ("origin.test", "127.0.0.1")))
        stem = "-".join(names or ("origin",)).replace("*", "any")
        certificate, key = self.directory / f"{stem}.pem", self.directory / f"{stem}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
        cert.private_key_pem.write_to_path(str(key))
        return certificate, key


def authority(directory: Path) -> Authority:
    return Authority(trustme.CA(), directory)


def trusting(trusted: Authority, **more: object) -> dict[str, object]:
    """An auditor that trusts only this authority."""
    interception = {"upstream_trust": {"ca_files": [str(trusted.pem)], "system_roots": False}}
    return {"name": "inspect", "tls_interception": interception} | more
