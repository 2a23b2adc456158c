"""The client of the idle test: opens connections, makes one request on each, says "ready" and holds them.

``python -m bench.idle HOST COUNT``
"""

import signal
import socket
import ssl
import sys


def main() -> None:
    host, count = sys.argv[1], int(sys.argv[2])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    held = [_open(context, host) for _ in range(count)]
    print(f"ready: {len(held)} connections", flush=True)
    signal.pause()


def _open(context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    connection = context.wrap_socket(socket.create_connection((host, 443), timeout=30), server_hostname=host)
    connection.sendall(f"GET /1k HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    received = b""
    while len(received.partition(b"\r\n\r\n")[2]) < 1024:
        block = connection.recv(65536)
        if not block:
            raise ConnectionError(f"{host} closed after {received[:200]!r}")
        received += block
    if not received.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"{host} answered {received[:200]!r}")
    return connection


if __name__ == "__main__":
    main()
