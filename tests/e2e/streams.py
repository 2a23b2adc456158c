"""An origin for tests whose answers have no end, and clients that read them piece by piece."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PATIENCE = 60.0

type Script = Callable[["Talk"], None]
"""What the origin does once it has a request's head."""


@dataclass
class Talk:
    """One request at the origin. ``go`` is set by the test when it has seen enough."""

    sock: socket.socket
    head: bytes
    go: threading.Event

    def begin(self, kind: str, *fields: str) -> None:
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", "Transfer-Encoding: chunked", *fields]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")

    def say(self, data: bytes) -> None:
        self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def wait(self) -> None:
        if not self.go.wait(PATIENCE):
            raise TimeoutError("the test never said to go on")
        self.go.clear()

    def end(self, trailers: bytes = b"") -> None:
        self.sock.sendall(b"0\r\n" + trailers + b"\r\n")

    def cut_off(self) -> bool:
        """Wait until the other side has gone."""
        self.sock.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return self.sock.recv(1) == b""
        return True


@dataclass
class Streamer:
    """For ``origins.origin``'s hook: serves each connection by the script of its path."""

    scripts: dict[str, Script] = field(default_factory=dict)
    go: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    """The origin has seen that its transfer was ended."""

    def __call__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = sock.recv(1)
            if not piece:
                return
            head += piece
        path = head.split(b" ")[1].decode().partition("?")[0]
        with contextlib.suppress(OSError):
            self.scripts[path](Talk(sock, head, self.go))


@dataclass
class Client:
    """Reads one answer over HTTP/1.1, dechunked."""

    sock: socket.socket
    head: bytes = b""
    _buffer: bytes = b""

    @classmethod
    def ask(cls, sock: socket.socket, host: str, path: str) -> "Client":
        sock.settimeout(PATIENCE)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        client = cls(sock)
        client.head = client._until(b"\r\n\r\n")
        return client

    @property
    def status(self) -> int:
        return int(self.head.split(b" ")[1])

    def _more(self) -> None:
        piece = self.sock.recv(65536)
        if not piece:
            raise EOFError
        self._buffer += piece

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def chunk(self) -> bytes:
        """The next piece; empty at the end. Raises EOFError or OSError when the stream is broken off."""
        size = int(self._until(b"\r\n"), 16)
        while len(self._buffer) < size + 2:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return data

    def expect(self, size: int) -> bytes:
        """So many bytes of the body, however they are cut."""
        data = b""
        while len(data) < size:
            piece = self.chunk()
            if not piece:
                break
            data += piece
        return data

    def rest(self) -> tuple[bytes, bool]:
        """What still comes, and whether it ended as it should."""
        data = b""
        try:
            while piece := self.chunk():
                data += piece
        except (EOFError, OSError):
            return data, False
        return data, True


@contextlib.contextmanager
def closing(sock: socket.socket) -> Iterator[socket.socket]:
    try:
        yield sock
    finally:
        sock.close()
