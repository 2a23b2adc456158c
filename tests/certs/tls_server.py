"""One leaf's context on a real socket, for real clients."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from OpenSSL import SSL

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@contextmanager
def serving(context: SSL.Context, alpn: tuple[str, ...] = ()) -> Iterator[int]:
    """The port of a server that answers every request with ``ok``."""
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_accept, args=(listener, context, alpn), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # wakes accept(), which closing alone would not
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        listener.close()


def _accept(listener: socket.socket, context: SSL.Context, alpn: tuple[str, ...]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.settimeout(10)
            # pyOpenSSL does not wait on a socket with a timeout
            client.setblocking(True)
            _answer(SSL.Connection(context, client), alpn)


def _answer(connection: SSL.Connection, alpn: tuple[str, ...]) -> None:
    connection.set_app_data({"alpn": alpn})
    connection.set_accept_state()
    try:
        connection.do_handshake()
        connection.recv(65536)
        connection.sendall(ANSWER)
        connection.shutdown()
    except SSL.Error:
        return
