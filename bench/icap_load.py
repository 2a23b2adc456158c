"""Load for an ICAP server: keep-alive connections, one request at a time on each, from several processes.

``python -m bench.icap_load --port 1344 --service echo --shape preview --seconds 3 --pid PID`` prints requests per second,
and what CPU the server's processes used for one. No request is sent before the answer to the last one on its connection.
"""

import argparse
import json
import multiprocessing
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.queues import Queue

from bench.processes import BenchError, cpu_seconds

_REQUEST = b"GET http://origin.test/file-1.bin HTTP/1.1\r\nHost: origin.test\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 18:00:00 GMT\r\nServer: nginx\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
)
_UNIQUE = 64
"""Bytes at the start of a body that differ from request to request, so that no scanner knows the body already."""


@dataclass(frozen=True, slots=True)
class Load:
    """Requests answered in ``seconds``; ``cpu_us`` is the server's CPU time for one, in microseconds (0: not measured)."""

    requests: int
    seconds: float
    statuses: dict[str, int]
    cpu_us: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def per_core(self) -> float:
        """Requests that one core of the server can answer in a second."""
        return 1e6 / self.cpu_us if self.cpu_us else 0.0


def message(shape: str, service: str, size: int = 1024, preview: int = 1024) -> tuple[bytes, int, bytes]:
    """A request in two parts, before and after the unique bytes, and where they go (0: none).

    ``shape``: ``null`` REQMOD without a body; ``preview`` RESPMOD whose preview is the whole body; ``body`` RESPMOD
    without a preview.
    """
    if shape == "null":
        return _head("REQMOD", service, f"req-hdr=0, null-body={len(_REQUEST)}", "") + _REQUEST, 0, b""
    response = _RESPONSE % size
    heads = f"req-hdr=0, res-hdr={len(_REQUEST)}, res-body={len(_REQUEST) + len(response)}"
    fields = f"Preview: {min(preview, size)}\r\n" if shape == "preview" else ""
    before = _head("RESPMOD", service, heads, fields) + _REQUEST + response + b"%x\r\n" % size
    end = b"\r\n0; ieof\r\n\r\n" if shape == "preview" else b"\r\n0\r\n\r\n"
    return before, min(_UNIQUE, size), b"z" * (size - min(_UNIQUE, size)) + end


def _head(method: str, service: str, encapsulated: str, fields: str) -> bytes:
    return (
        f"{method} icap://icap.test:1344/{service} ICAP/1.0\r\nHost: icap.test:1344\r\nUser-Agent: load\r\nAllow: 204\r\n"
        f"X-Client-IP: 192.0.2.7\r\n{fields}Encapsulated: {encapsulated}\r\n\r\n"
    ).encode()


def drive(
    port: int, shape: str, service: str, *, size: int, connections: int, processes: int, seconds: float, pids: list[int]
) -> Load:
    """Put load on 127.0.0.1:``port``. ``pids``: the server's processes.

    Raises:
        BenchError: a connection was refused or closed, or an answer never came.
    """
    context = multiprocessing.get_context("fork")
    results: Queue[tuple[int, dict[str, int]] | str] = context.Queue()
    started, cpu = time.monotonic(), cpu_seconds(pids)
    share = max(1, connections // processes)
    work = (port, shape, service, size, share, seconds, results)
    children = [context.Process(target=_child, args=work, daemon=True) for _ in range(processes)]
    for child in children:
        child.start()
    told = [results.get(timeout=seconds + 30) for _ in children]
    took, used = time.monotonic() - started, cpu_seconds(pids) - cpu
    for child in children:
        child.join()
    requests, statuses = 0, dict[str, int]()
    for one in told:
        if isinstance(one, str):
            raise BenchError(one)
        requests += one[0]
        for status, count in one[1].items():
            statuses[status] = statuses.get(status, 0) + count
    return Load(requests, took, statuses, used / requests * 1e6 if requests and pids else 0.0)


def _child(
    port: int, shape: str, service: str, size: int, connections: int, seconds: float,
    results: "Queue[tuple[int, dict[str, int]] | str]",
) -> None:  # fmt: skip
    try:
        results.put(_run(port, message(shape, service, size), connections, seconds))
    except OSError as error:
        results.put(f"the load ended: {error}")


def _run(port: int, parts: tuple[bytes, int, bytes], connections: int, seconds: float) -> tuple[int, dict[str, int]]:
    make = _maker(parts)
    selector = selectors.EpollSelector()
    waiting: dict[int, tuple[socket.socket, bytes]] = {}
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port), 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ)
        waiting[sock.fileno()] = (sock, b"")
        sock.sendall(make())
    requests, statuses = 0, dict[str, int]()
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until:
        for key, _ in selector.select(until - now):
            sock, got = waiting[key.fd]
            piece = sock.recv(262_144)
            if not piece:
                raise ConnectionError(f"the server closed after {got[-200:]!r}")
            got += piece
            if not _whole(got):
                waiting[key.fd] = (sock, got)
                continue
            requests += 1
            status = got[9:12].decode("latin-1")
            statuses[status] = statuses.get(status, 0) + 1
            waiting[key.fd] = (sock, b"")
            sock.sendall(make())
    for sock, _ in waiting.values():
        sock.close()
    return requests, statuses


def _maker(parts: tuple[bytes, int, bytes]) -> Callable[[], bytes]:
    before, unique, after = parts
    number = 0
    mark = b"%d-%d-" % (os.getpid(), time.monotonic_ns())

    def make() -> bytes:
        nonlocal number
        if not unique:
            return before
        number += 1
        return b"%b%b%b" % (before, (mark + b"%d" % number)[-unique:].rjust(unique, b"."), after)

    return make


def _whole(got: bytes) -> bool:
    """An answer without a body ends with its head, one with a body with its last chunk."""
    head, end, _ = got.partition(b"\r\n\r\n")
    if not end:
        return False
    bodiless = b"-body=" not in head or b"null-body=0" in head
    return bodiless or got.endswith(b"\r\n0\r\n\r\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--service", default="echo")
    parser.add_argument("--shape", choices=("null", "preview", "body"), default="preview")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--pid", type=int, action="append", default=[], help="a process of the server, for its CPU time")
    told = parser.parse_args()
    load = drive(
        told.port, told.shape, told.service, size=told.size, connections=told.connections,
        processes=told.processes, seconds=told.seconds, pids=told.pid,
    )  # fmt: skip
    print(json.dumps(asdict(load) | {"per_second": round(load.per_second), "per_core": round(load.per_core)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
