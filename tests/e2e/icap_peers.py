"""What stands between the appliance and an ICAP service in tests: a tap that listens, and a service that misbehaves."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Tap:
    """Passes a TCP service on; keeps what clients sent. ``connects`` counts connections."""

    port: int
    connects: int = 0
    sent: list[bytearray] = field(default_factory=list)

    def heads(self, method: str, containing: str) -> list[dict[str, str]]:
        """The ICAP header fields (names in lower case) of requests that carry this text in what they encapsulate."""
        found = []
        for data in list(self.sent):
            pieces = re.split(rb"(?=(?:REQMOD|RESPMOD|OPTIONS) icap://)", bytes(data))
            for piece in pieces:
                if piece.startswith(method.encode()) and containing.encode() in piece:
                    rows = piece.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
                    found.append({name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)})
        return found


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept on a free port; each connection gets ``serve`` in a thread and is closed after it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    open_sockets: set[socket.socket] = set()

    def run(sock: socket.socket) -> None:
        open_sockets.add(sock)
        with contextlib.suppress(OSError), sock:
            serve(sock)
        open_sockets.discard(sock)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=run, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        for sock in (listener, *open_sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        listener.close()


@contextlib.contextmanager
def tap(port: int) -> Iterator[Tap]:
    """A tap before 127.0.0.1:``port``."""
    found = Tap(0)

    def serve(client: socket.socket) -> None:
        found.connects += 1
        record = bytearray()
        found.sent.append(record)
        with socket.create_connection(("127.0.0.1", port), 10) as server:
            back = threading.Thread(target=_pass, args=(server, client, bytearray()), daemon=True)
            back.start()
            _pass(client, server, record)
            back.join(10)

    with listening(serve) as found.port:
        yield found


def _pass(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
    with contextlib.suppress(OSError):
        source.settimeout(None)
        while data := source.recv(65536):
            record += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


_OPTIONS = (
    b'ICAP/1.0 200 OK\r\nMethods: REQMOD, RESPMOD\r\nISTag: "bad"\r\nAllow: 204\r\nOptions-TTL: 3600\r\n'
    b"Encapsulated: null-body=0\r\n\r\n"
)
_HALF = b'ICAP/1.0 200 OK\r\nISTag: "bad"\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n64\r\nab'
_EDITED = (
    b'ICAP/1.0 200 OK\r\nISTag: "bad"\r\nEncapsulated: res-hdr=0, res-body=34\r\n\r\n'
    b"HTTP/1.1 200 OK\r\nX-Edited: yes\r\n\r\n7\r\nedited\n\r\n0\r\n\r\n"
)
_CLEAN = b'ICAP/1.0 204 No Content\r\nISTag: "bad"\r\nEncapsulated: null-body=0\r\n\r\n'


@contextlib.contextmanager
def misbehaving() -> Iterator[int]:
    """An ICAP service that passes requests, and does with responses what the URL says: ``/status500``, ``/status404``,
    ``/garbage``, ``/reset``, ``/hang``, ``/half``, ``/edited``. Its port."""

    def serve(sock: socket.socket) -> None:
        sock.settimeout(30)
        while (head := _until(sock, b"\r\n\r\n")) is not None:
            if head.startswith(b"OPTIONS"):
                sock.sendall(_OPTIONS)
            elif head.startswith(b"REQMOD"):
                _until(sock, b"\r\n\r\n")
                sock.sendall(_CLEAN)
            else:
                inside = _until(sock, b"\r\n0\r\n\r\n") or b""
                if not _misbehave(sock, inside):
                    return

    with listening(serve) as port:
        yield port


def _misbehave(sock: socket.socket, request: bytes) -> bool:
    """Whether the connection goes on."""
    if found := re.search(rb"/status(\d+)", request):
        sock.sendall(b'ICAP/1.0 %s Bad\r\nISTag: "bad"\r\nEncapsulated: null-body=0\r\n\r\n' % found[1])
        return True
    if b"/edited" in request:
        sock.sendall(_EDITED)
        return True
    if b"/garbage" in request:
        sock.sendall(b"\x00\xff NO ICAP AT ALL\r\n\r\n")
    elif b"/half" in request:
        sock.sendall(
            b'ICAP/1.0 200 OK\r\nISTag: "bad"\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n64\r\nab'
        )
    elif b"/hang" in request:
        sock.recv(1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    return False


def _until(sock: socket.socket, mark: bytes) -> bytes | None:
    data = b""
    while not data.endswith(mark):
        piece = sock.recv(1)
        if not piece:
            return None
        data += piece
    return data
