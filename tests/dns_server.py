"""A name server for tests: says what it is told to, and remembers what it was asked."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

A, AAAA, HTTPS, SVCB = 1, 28, 65, 64
ADDRESS = bytes((192, 0, 2, 7))
SERVICE = b"\0\1\0" + struct.pack("!HH", 1, 3) + b"\2h3"
"""Priority 1, the name itself, alpn=h3 (RFC 9460 section 2.2)."""


@dataclass
class DnsServer:
    """``records``: data by type, for every name. ``code``: of every answer without records of the type."""

    records: Mapping[int, bytes]
    port: int = 0
    code: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)

    def answer(self, data: bytes) -> bytes:
        name, end = _name(data, 12)
        (kind,) = struct.unpack_from("!H", data, end)
        self.asked.append((name, kind))
        found = self.records.get(kind)
        head = data[:2] + struct.pack("!5H", 0x8180 | (0 if found else self.code), 1, int(found is not None), 0, 0)
        record = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(found)) + found if found else b""
        return head + data[12 : end + 4] + record


def _name(data: bytes, position: int) -> tuple[str, int]:
    labels = []
    while length := data[position]:
        labels.append(data[position + 1 : position + 1 + length].decode())
        position += 1 + length
    return ".".join(labels), position + 1


@contextlib.contextmanager
def dns_server(records: Mapping[int, bytes], address: str = "127.0.0.1", port: int = 0, code: int = 0) -> Iterator[DnsServer]:
    """By UDP, on a free port unless one is given."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        server = DnsServer(records, sock.getsockname()[1], code)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    data, sender = sock.recvfrom(4096)
                    if not data:
                        return
                    sock.sendto(server.answer(data), sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(type=socket.SOCK_DGRAM) as last:
                last.sendto(b"", (address, server.port))
            thread.join(5)
