"""A ClientHello taken apart by a reader that shares no code with the appliance's."""

from dataclasses import dataclass

SERVER_NAME, STATUS_REQUEST, SIGNATURES, ALPN, EXTENDED_MASTER, VERSIONS, RENEGOTIATION = 0, 5, 13, 16, 23, 43, 0xFF01
SCSV = 0x00FF


@dataclass(frozen=True)
class Hello:
    """RFC 8446 section 4.1.2. ``extensions`` by number."""

    suites: frozenset[int]
    compressions: frozenset[int]
    extensions: dict[int, bytes]

    @property
    def versions(self) -> frozenset[int]:
        return _numbers(self.extensions.get(VERSIONS, b"\0")[1:])

    @property
    def signatures(self) -> frozenset[int]:
        return _numbers(self.extensions[SIGNATURES][2:])

    @property
    def server_name(self) -> str:
        return self.extensions.get(SERVER_NAME, b"")[5:].decode()

    @property
    def asks_for_staple(self) -> bool:
        return self.extensions.get(STATUS_REQUEST, b"")[:1] == b"\1"

    @property
    def secure_renegotiation(self) -> bool:
        return SCSV in self.suites or RENEGOTIATION in self.extensions

    @property
    def extended_master_secret(self) -> bool:
        return EXTENDED_MASTER in self.extensions


def parse(body: bytes) -> Hello:
    """``body``: the message without its header."""
    _session, rest = _vector(body[34:], 1)
    suites, rest = _vector(rest, 2)
    compressions, rest = _vector(rest, 1)
    rest, _ = _vector(rest, 2)
    extensions = {}
    while rest:
        number = int.from_bytes(rest[:2])
        extensions[number], rest = _vector(rest[2:], 2)
    return Hello(_numbers(suites), frozenset(compressions), extensions)


def _vector(data: bytes, width: int) -> tuple[bytes, bytes]:
    end = width + int.from_bytes(data[:width])
    return data[width:end], data[end:]


def _numbers(data: bytes) -> frozenset[int]:
    return frozenset(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
