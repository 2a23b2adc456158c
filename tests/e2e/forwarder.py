"""A port that leads through the proxy to one server: for clients that speak TLS, but not to a proxy as strict as ours."""

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def forwarder(proxy: int, target: str) -> Iterator[int]:
    """The port. Each connection becomes a CONNECT to ``target`` (``host:port``)."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    thread = threading.Thread(target=_accept, args=(listener, proxy, target), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _accept(listener: socket.socket, proxy: int, target: str) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, proxy, target), daemon=True).start()


def _serve(client: socket.socket, proxy: int, target: str) -> None:
    with client, socket.create_connection(("127.0.0.1", proxy), 20) as server:
        server.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = server.recv(1)  # one by one: what follows belongs to the client
            if not piece:
                return
            answer += piece
        back = threading.Thread(target=_copy, args=(server, client), daemon=True)
        back.start()
        _copy(client, server)
        back.join(20)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
