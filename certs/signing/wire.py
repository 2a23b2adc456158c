"""Messages between workers and the signer: length-prefixed, versioned, bounded. Sans-io; both ends share it.

length (4)   octets that follow
version (1)
kind (1)
number (4)   chosen by who asks, and given back with the answer, so that many questions are under way at once
body
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

VERSION = 1
MAX_BODY = 128 * 1024
"""A profile of 100 names is 25 KB; its leaf, with an RSA key, not much more."""
_HEAD = struct.Struct(">IBBI")
_LENGTH = 4
_REST = _HEAD.size - _LENGTH


class Kind(IntEnum):
    """What a message is. Questions are below 128; each has its handler in the signer (``server.Handlers``)."""

    LEAF = 1
    """Body: a scope (``certs.scope``), then the profile. Answer: 1 when it was signed for this question, 0 when it was
    remembered; then ``Issued.to_bytes``."""

    FIND = 2
    """Body: ``host:NAME``, ``sha256:HEX``, or nothing for all. Answer: remembered certificates, newest first, without keys:
    the length (4) of each, then its DER."""

    ANSWER = 128
    FAILURE = 129
    """Body: ``reason: detail`` in UTF-8."""


class WireError(ValueError):
    """What arrived is no message. There is no way to find the next one: the connection has to be closed."""


@dataclass(frozen=True, slots=True)
class Message:
    kind: Kind
    number: int
    body: bytes

    def to_bytes(self) -> bytes:
        """Raises WireError when the body is too long."""
        if len(self.body) > MAX_BODY:
            raise WireError(f"a body of {len(self.body)} octets")
        return _HEAD.pack(_REST + len(self.body), VERSION, self.kind, self.number) + self.body


class Decoder:
    """Octets in, messages out. Holds at most one message and what one read brings."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Every message that is complete now. Raises WireError, after the messages before it were given."""
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        if len(self._buffer) < _HEAD.size:
            return None
        length, version, kind, number = _HEAD.unpack_from(self._buffer)
        if version != VERSION:
            raise WireError(f"version {version}")
        if not _REST <= length <= _REST + MAX_BODY:
            raise WireError(f"a message of {length} octets")
        if kind not in _KINDS:
            raise WireError(f"kind {kind}")
        end = _LENGTH + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_HEAD.size : end])
        del self._buffer[:end]
        return Message(Kind(kind), number, body)


_KINDS = frozenset(Kind)
