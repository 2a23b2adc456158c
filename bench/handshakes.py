"""A client of new TLS connections, one 1 KB request on each:
``python -m bench.handshakes HOST KIND CONNECTIONS SECONDS FIRST``.

KIND is ``resume`` (each thread goes on with its last session) or ``cold`` (each connection asks for the next name, from
number FIRST; the origin's certificate covers all). Prints one JSON object.
"""

import itertools
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Told:
    """What one thread has done. ``resumed`` are handshakes without a certificate."""

    requests: int = 0
    resumed: int = 0
    bytes: int = 0
    failed: int = 0


def main() -> None:
    host, kind, connections, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    address, numbers = socket.gethostbyname(host), itertools.count(int(sys.argv[5]))
    told = [Told() for _ in range(connections)]
    started = time.monotonic()
    names = (cold_name(host, number) for number in numbers) if kind == "cold" else itertools.repeat(host)
    lock = threading.Lock()
    threads = [threading.Thread(target=_run, args=(each, names, lock, address, kind, started + seconds)) for each in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sums = {name: sum(getattr(each, name) for each in told) for name in ("requests", "resumed", "bytes", "failed")}
    print(json.dumps({**sums, "seconds": time.monotonic() - started}))


def cold_name(host: str, number: int) -> str:
    return f"c{number}.{host}"


def _run(told: Told, names: Iterator[str], lock: threading.Lock, address: str, kind: str, until: float) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    session = None
    while time.monotonic() < until:
        with lock:
            name = next(names)
        try:
            session = _fetch(told, context, address, name, session if kind == "resume" else None)
        except OSError:
            told.failed += 1


def _fetch(
    told: Told, context: ssl.SSLContext, address: str, name: str, session: ssl.SSLSession | None
) -> ssl.SSLSession | None:
    plain = socket.create_connection((address, 443), timeout=20)
    with context.wrap_socket(plain, server_hostname=name, session=session) as connection:
        connection.sendall(f"GET /1k HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while block := connection.recv(65536):
            received += block
        if not received.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"{name} answered {received[:200]!r}")
        told.requests += 1
        told.bytes += len(received)
        told.resumed += bool(connection.session_reused)
        return connection.session


if __name__ == "__main__":
    main()
