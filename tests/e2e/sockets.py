"""Raw clients: bytes to a listener, and what comes back."""

import contextlib
import socket
import ssl
import time
from pathlib import Path

type Sock = socket.socket | ssl.SSLSocket


def dial(port: int, source: str = "", host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), 10, (source, 0) if source else None)


def read_all(sock: Sock, seconds: float = 15.0) -> bytes:
    """Everything until the peer closes or resets. Raises TimeoutError when it does neither."""
    data = b""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            piece = sock.recv(65536)
        except (ConnectionError, ssl.SSLError, ssl.SSLEOFError):
            return data
        if not piece:
            return data
        data += piece
    raise TimeoutError(f"still open after {seconds} s, {len(data)} bytes: {data[:200]!r}")


def read_until(sock: Sock, mark: bytes, seconds: float = 15.0) -> bytes:
    """Up to and beyond ``mark``, or to the end of the stream."""
    data = b""
    sock.settimeout(seconds)
    while mark not in data:
        try:
            piece = sock.recv(65536)
        except ConnectionError:
            break
        if not piece:
            break
        data += piece
    return data


def exchange(port: int, *pieces: bytes, source: str = "", seconds: float = 15.0, pause: float = 0.0) -> bytes:
    """Send the pieces, then read until the peer closes."""
    with dial(port, source) as sock:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                sock.sendall(piece)
                time.sleep(pause)
        return read_all(sock, seconds)


def read_response(sock: Sock, seconds: float = 15.0, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
    """One response that has a Content-Length: status, fields, body."""
    head, _, body = read_until(sock, b"\r\n\r\n", seconds).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1."):
        raise AssertionError(f"no response: {head!r}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = 0 if head_only else int(fields.get("content-length", "0"))
    while len(body) < length:
        piece = sock.recv(65536)
        if not piece:
            break
        body += piece
    return int(lines[0].split(" ")[1]), fields, body


def connect(port: int, target: str, *fields: str, source: str = "") -> socket.socket:
    """A tunnel: CONNECT was answered with 200."""
    sock = dial(port, source)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *fields]
    sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    answer = read_until(sock, b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return sock


def trusting(ca: Path | None, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca)) if ca else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(list(alpn))
    if ca is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def tls(sock: socket.socket, host: str, ca: Path | None, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLSocket:
    """TLS inside a tunnel. Without ``ca`` nothing is verified."""
    return trusting(ca, alpn).wrap_socket(sock, server_hostname=host)


def hello(host: str, alpn: tuple[str, ...] = ("http/1.1",)) -> bytes:
    """The bytes of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(None, alpn).wrap_bio(incoming, outgoing, server_hostname=host)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
