"""As much of DNS as one question takes: is there a record of this type (RFC 1035 section 4, RFC 9460 for HTTPS)."""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

A: Final = 1
HTTPS: Final = 65
NXDOMAIN: Final = 3
_RECURSE: Final = 0x0100
_HEADER: Final = struct.Struct("!6H")
_FIXED: Final = struct.Struct("!HHIH")
MAX_RECORDS: Final = 200


class DnsError(ValueError):
    """What came is no answer to the question."""


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """``code``: 0 for no error, 3 for a name that does not exist. ``types``: of the records in the answer section."""

    code: int
    types: tuple[int, ...]
    truncated: bool = False


def question(number: int, name: str, kind: int) -> bytes:
    """``number``: 16 bits that the answer repeats. Raises ValueError for what is no host name."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"no host name: {name!r}")
    spelled = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return _HEADER.pack(number, _RECURSE, 1, 0, 0, 0) + spelled + struct.pack("!HH", kind, 1)


def read_answer(data: bytes, number: int) -> DnsAnswer:
    """Raises DnsError."""
    if len(data) < _HEADER.size:
        raise DnsError("too short")
    found, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if found != number or not flags & 0x8000:
        raise DnsError("no answer to this question")
    if questions > 1 or answers > MAX_RECORDS:
        raise DnsError("more than one question has")
    position, types = _HEADER.size, []
    for _ in range(questions):
        position = _after_name(data, position) + 4
    if position > len(data):
        raise DnsError("cut off")
    for _ in range(answers):
        position = _after_name(data, position)
        if position + _FIXED.size > len(data):
            raise DnsError("cut off")
        kind, _, _, size = _FIXED.unpack_from(data, position)
        position += _FIXED.size + size
        if position > len(data):
            raise DnsError("cut off")
        types.append(kind)
    return DnsAnswer(flags & 15, tuple(types), bool(flags & 0x0200))


def _after_name(data: bytes, position: int) -> int:
    """Past labels, or past the pointer that ends them; it is not followed."""
    while position < len(data):
        length = data[position]
        if length & 0xC0:
            return position + 2
        position += 1 + length
        if length == 0:
            return position
    raise DnsError("cut off")


def nameservers(file: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """In the order in which the system asks them. Raises OSError."""
    words = (line.split() for line in file.read_text(encoding="ascii", errors="replace").splitlines())
    return tuple(line[1] for line in words if len(line) > 1 and line[0] == "nameserver")


def ask(server: str, name: str, kind: int, number: int, *, port: int = 53, seconds: float = 2.0) -> DnsAnswer:
    """By UDP, once. Raises OSError (TimeoutError when nothing comes) and DnsError."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        sock.connect((server, port))
        sock.send(question(number, name, kind))
        return read_answer(sock.recv(4096), number)
