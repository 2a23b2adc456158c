"""TLS ClientHello parsing (RFC 8446 section 4.1.2), bounded, from bytes that stay in the stream's buffer."""

import hashlib
import struct
from dataclasses import dataclass, field
from functools import lru_cache

from appliance.domain.errors import ClientError
from appliance.domain.facts import HelloFacts
from appliance.domain.reason import Reason
from appliance.domain.target import normalise_host

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_EXT_SNI, _EXT_GROUPS, _EXT_POINT_FORMATS, _EXT_SIGALGS, _EXT_ALPN, _EXT_VERSIONS = 0, 10, 11, 13, 16, 43
_EXT_ECH = 0xFE0D
_EXT_TICKET, _EXT_PRE_SHARED_KEY = 35, 41
_TICKET_NAME = 16
_HOST_NAME = 0
_EXT_TRAITS = (_EXT_GROUPS, _EXT_POINT_FORMATS, _EXT_SIGALGS, _EXT_ALPN, _EXT_VERSIONS)
_EXTENSION = struct.Struct(">HH")
_REMEMBERED = 4096
"""A longer hello is described anew each time: what a client fills the memory with is bounded by 512 of this size."""
_JA4_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3"}


def looks_like_tls(data: bytes) -> bool:
    """The first bytes of a TLS record that carries a handshake. True is certain with 3 bytes, possible with fewer."""
    return b"\x16\x03".startswith(data[:2]) and (len(data) < 3 or data[2] <= 4)


class _Cursor:
    """A reader of length-prefixed vectors that never reads past its end."""

    __slots__ = ("_data", "_pos")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def take(self, count: int) -> bytes:
        end = self._pos + count
        if end > len(self._data):
            raise ClientError(Reason.BAD_CLIENT_HELLO, "truncated")
        piece = self._data[self._pos : end]
        self._pos = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def __bool__(self) -> bool:
        return self._pos < len(self._data)


@dataclass(slots=True)
class Progress:
    """How far a hello has been put together: one that comes in records of a byte is not put together anew for each byte."""

    pos: int = 0
    message: bytearray = field(default_factory=bytearray)


def parse_client_hello(data: bytes, limit: int, progress: Progress | None = None) -> HelloFacts | None:
    """The facts of a complete ClientHello, or None when more bytes are needed.

    ``progress`` is kept between calls with ever longer ``data``.

    Raises:
        ClientError: malformed, not a ClientHello, or larger than ``limit`` bytes (``bad_client_hello``).
    """
    message = _handshake_message(data, limit, progress or Progress())
    return None if message is None else _parse_body(message)


def _handshake_message(data: bytes, limit: int, progress: Progress) -> bytes | None:
    """Reassemble the first handshake message from its records (a ClientHello may be spread over several)."""
    message = progress.message
    while True:
        pos = progress.pos
        if len(data) < pos + 5:
            _check_padding(data, limit)
            return None
        if data[pos] != _HANDSHAKE or data[pos + 1] != 3:
            raise ClientError(Reason.BAD_CLIENT_HELLO, "not a handshake record")
        size = int.from_bytes(data[pos + 3 : pos + 5])
        if not 0 < size <= 16384:
            raise ClientError(Reason.BAD_CLIENT_HELLO, "record length out of range")
        if len(data) < pos + 5 + size:
            _check_padding(data, limit)
            return None
        message += data[pos + 5 : pos + 5 + size]
        progress.pos = pos + 5 + size
        if message[0] != _CLIENT_HELLO:
            raise ClientError(Reason.BAD_CLIENT_HELLO, "not a ClientHello")
        if len(message) >= 4:
            length = int.from_bytes(message[1:4])
            if length > limit:
                raise ClientError(Reason.BAD_CLIENT_HELLO, f"larger than {limit} bytes")
            if len(message) >= 4 + length:
                return bytes(message[4 : 4 + length])


def _check_padding(data: bytes, limit: int) -> None:
    # Twice the limit leaves room for a hello in records of a few bytes; beyond it is padding.
    if len(data) > 2 * limit + 5:
        raise ClientError(Reason.BAD_CLIENT_HELLO, f"larger than {limit} bytes")


def _parse_body(message: bytes) -> HelloFacts:
    cursor = _Cursor(message)
    legacy_version = cursor.number(2)
    cursor.take(32)
    cursor.vector(1)
    ciphers = cursor.vector(2)
    cursor.vector(1)
    extensions = _extensions(cursor.vector(2)) if cursor else {}
    if cursor:
        raise ClientError(Reason.BAD_CLIENT_HELLO, "bytes after the extensions")
    describe = _traits if len(message) <= _REMEMBERED else _traits.__wrapped__
    traits = describe(legacy_version, ciphers, tuple(extensions), *map(extensions.get, _EXT_TRAITS))
    return HelloFacts(
        sni=_server_name(extensions.get(_EXT_SNI)),
        alpn=traits.alpn,
        versions=traits.versions,
        ciphers=traits.ciphers,
        signature_algorithms=traits.signature_algorithms,
        groups=traits.groups,
        has_ech=_EXT_ECH in extensions,
        ja3=traits.ja3,
        ja4=traits.ja4,
        ticket=_ticket(extensions),
    )


def _ticket(extensions: dict[int, bytes]) -> bytes:
    """From the first identity in TLS 1.3 (RFC 8446 section 4.2.11), from the ticket itself before (RFC 5077 section 3.2)."""
    offered = extensions.get(_EXT_PRE_SHARED_KEY)
    ticket = _Cursor(_Cursor(offered).vector(2)).vector(2) if offered else extensions.get(_EXT_TICKET, b"")
    return ticket[:_TICKET_NAME]


def _extensions(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    pos, end = 0, len(data)
    while pos < end:
        if pos + 4 > end:
            raise ClientError(Reason.BAD_CLIENT_HELLO, "truncated")
        kind, size = _EXTENSION.unpack_from(data, pos)
        start, pos = pos + 4, pos + 4 + size
        if kind in found:
            raise ClientError(Reason.BAD_CLIENT_HELLO, f"extension {kind} twice")
        if pos > end:
            raise ClientError(Reason.BAD_CLIENT_HELLO, "truncated")
        found[kind] = data[start:pos]
    return found


@dataclass(frozen=True, slots=True)
class _Traits:
    """What a client's software says with every connection, whoever it talks to."""

    alpn: tuple[str, ...]
    versions: tuple[int, ...]
    ciphers: tuple[int, ...]
    signature_algorithms: tuple[int, ...]
    groups: tuple[int, ...]
    ja3: str
    ja4: str


@lru_cache(maxsize=512)
def _traits(
    legacy_version: int, suites: bytes, kinds: tuple[int, ...],
    groups: bytes | None, formats: bytes | None, algorithms: bytes | None, protocols: bytes | None, supported: bytes | None,
) -> _Traits:  # fmt: skip
    """Remembered: to hash the two fingerprints cost more than all other parsing together."""
    ciphers, alpn, signatures = _u16s(suites), _protocols(protocols), _list16(algorithms)
    curves = _list16(groups)
    versions = _supported_versions(supported) or (legacy_version,)
    kinds = tuple(kind for kind in kinds if not _is_grease(kind))
    ja3 = _ja3(legacy_version, ciphers, kinds, curves, formats)
    ja4 = _ja4(max(versions), ciphers, kinds, protocols, signatures)
    return _Traits(alpn, versions, ciphers, signatures, curves, ja3, ja4)


def _u16s(data: bytes) -> tuple[int, ...]:
    count = len(data) // 2
    return tuple([value for value in struct.unpack_from(f">{count}H", data) if not _is_grease(value)])


def _is_grease(value: int) -> bool:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def _list16(data: bytes | None) -> tuple[int, ...]:
    return _u16s(_Cursor(data).vector(2)) if data else ()


def _supported_versions(data: bytes | None) -> tuple[int, ...]:
    return _u16s(_Cursor(data).vector(1)) if data else ()


def _server_name(data: bytes | None) -> str:
    """The host name (RFC 6066 section 3), normalised. What is no host name is an error: no rule could judge it; so is more
    than one name, of which a server might take another than we do."""
    if data is None:
        return ""
    cursor = _Cursor(data)
    names = _Cursor(cursor.vector(2))
    kind, name = names.number(1), names.vector(2)
    if kind != _HOST_NAME or names or cursor:
        raise ClientError(Reason.BAD_CLIENT_HELLO, "SNI is not one host name")
    try:
        return normalise_host(name.decode("ascii"))
    except ValueError as error:
        raise ClientError(Reason.BAD_CLIENT_HELLO, "SNI is no host name") from error


def _protocols(data: bytes | None) -> tuple[str, ...]:
    if not data:
        return ()
    cursor = _Cursor(_Cursor(data).vector(2))
    names = []
    while cursor:
        names.append(cursor.vector(1).decode("ascii", "backslashreplace"))
    return tuple(names)


def _ja3(version: int, ciphers: tuple[int, ...], kinds: tuple[int, ...], groups: tuple[int, ...], formats: bytes | None) -> str:
    fields = (ciphers, kinds, groups, (formats or b"\0")[1:])
    text = f"{version}," + ",".join("-".join(map(str, field)) for field in fields)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _ja4(
    version: int, ciphers: tuple[int, ...], kinds: tuple[int, ...], protocols: bytes | None, signatures: tuple[int, ...]
) -> str:
    head = f"t{_JA4_VERSIONS.get(version, '00')}{'d' if _EXT_SNI in kinds else 'i'}"
    head += f"{min(len(ciphers), 99):02}{min(len(kinds), 99):02}{_ja4_alpn(protocols)}"
    rest = ",".join(sorted(f"{kind:04x}" for kind in kinds if kind not in (_EXT_SNI, _EXT_ALPN)))
    algorithms = ",".join(f"{value:04x}" for value in signatures)
    tail = f"{rest}_{algorithms}" if algorithms else rest
    return f"{head}_{_hash12(','.join(sorted(f'{value:04x}' for value in ciphers)))}_{_hash12(tail)}"


def _ja4_alpn(data: bytes | None) -> str:
    """First and last character of the first protocol; of its hex form when one of the two is not alphanumeric."""
    names = _Cursor(data).vector(2) if data else b""
    first = _Cursor(names).vector(1) if names else b""
    if not first:
        return "00"
    ends = first[:1] + first[-1:]
    return ends.decode("ascii") if ends.isalnum() else first.hex()[0] + first.hex()[-1]


def _hash12(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12
