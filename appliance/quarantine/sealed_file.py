"""One body in one file, encrypted: a sealed header, then frames.

::

    "ARCUSQ1\\n" | length of the header, 4 octets | header | frame | frame | ...

The header is JSON, sealed with the tenant's key for one place (tenant and id). It holds the body's own random key, its size and
its SHA-256. Frames are AES-256-GCM of 64 KiB each, the last one shorter; the nonce is the frame's number and whether it is the
last one, so that frames cannot be cut off, repeated, left out or exchanged.
"""

import base64
import hashlib
import json
import secrets
import struct
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, BinaryIO, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.domain.quarantine import Damaged, Item

FRAME: Final = 64 * 1024
MAX_HEADER: Final = 16 * 1024
_MAGIC: Final = b"ARCUSQ1\n"
_LENGTH: Final = struct.Struct("!I")
_TAG: Final = 16
_OUTSIDE: Final = ("id", "tenant", "times", "damaged")
"""What the file's place says, or what changes after it was written."""


class Ring(Protocol):
    """See ``certs.sealing.KeyRing``; ``open`` raises ValueError."""

    def seal(self, data: bytes, place: bytes) -> bytes: ...
    def open(self, sealed: bytes, place: bytes) -> bytes: ...
    def name(self, data: bytes) -> str: ...


def write(out: BinaryIO, ring: Ring, item: Item, source: BinaryIO) -> None:
    """Put a body into ``out``. Raises OSError, and Damaged when ``source`` is not what the item says."""
    key = secrets.token_bytes(32)
    about = {name: value for name, value in asdict(item).items() if name not in _OUTSIDE}
    text = json.dumps(about | {"key": base64.b64encode(key).decode()}).encode()
    header = ring.seal(text, _place(item.tenant, item.id))
    if len(header) > MAX_HEADER:
        raise Damaged("the header is too long")
    out.write(_MAGIC + _LENGTH.pack(len(header)) + header)
    cipher, digest, size = AESGCM(key), hashlib.sha256(), 0
    for number in range(frames := _frames(item.size)):
        piece = _read(source, FRAME)
        digest.update(piece)
        size += len(piece)
        out.write(cipher.encrypt(_nonce(number, last=number == frames - 1), piece, None))
    if (size, digest.hexdigest()) != (item.size, item.sha256) or source.read(1):
        raise Damaged("the body is not the one that was found")


class SealedFile:
    """A file that is open for reading; ``item`` is what its header says. Raises Damaged, also while it is made."""

    def __init__(self, stream: BinaryIO, ring: Ring, tenant: str, item_id: str) -> None:
        self._stream = stream
        about = _header(stream, ring, _place(tenant, item_id))
        self._start = stream.tell()
        try:
            self._cipher = AESGCM(base64.b64decode(about.pop("key")))
            self.item = Item(item_id, tenant, **about)
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged("the header is not ours") from error

    def verify(self) -> None:
        """Read it to its end."""
        for _ in self.pieces():
            pass

    def pieces(self) -> Iterator[bytes]:
        """The body; each piece is authentic, but only after the last one is it known that it is whole."""
        item, digest, size = self.item, hashlib.sha256(), 0
        self._stream.seek(self._start)
        for number in range(frames := _frames(item.size)):
            piece = self._frame(number, last=number == frames - 1)
            digest.update(piece)
            size += len(piece)
            yield piece
        if (size, digest.hexdigest()) != (item.size, item.sha256) or self._stream.read(1):
            raise Damaged("the file is longer than it was, or not the body that was found")

    def _frame(self, number: int, *, last: bool) -> bytes:
        try:
            return self._cipher.decrypt(_nonce(number, last=last), _read(self._stream, FRAME + _TAG), None)
        except (InvalidTag, ValueError) as error:
            raise Damaged(f"the file was changed or cut off, at frame {number}") from error


def _header(stream: BinaryIO, ring: Ring, place: bytes) -> dict[str, Any]:
    start = _read(stream, len(_MAGIC) + _LENGTH.size)
    if len(start) != len(_MAGIC) + _LENGTH.size or not start.startswith(_MAGIC):
        raise Damaged("it is no file of the quarantine")
    (length,) = _LENGTH.unpack_from(start, len(_MAGIC))
    try:
        about = json.loads(ring.open(_read(stream, min(length, MAX_HEADER)), place))
    except ValueError as error:
        raise Damaged(f"the header cannot be opened: {error}") from error
    if not isinstance(about, dict):
        raise Damaged("the header is not ours")
    return about


def _place(tenant: str, item_id: str) -> bytes:
    return f"arcus quarantine\0{tenant}\0{item_id}".encode()


def _frames(size: int) -> int:
    return max(1, -(-size // FRAME))


def _nonce(number: int, *, last: bool) -> bytes:
    """Never used twice with one key: each body has a key of its own."""
    return number.to_bytes(11) + bytes((last,))


def _read(stream: BinaryIO, size: int) -> bytes:
    """So many octets, or what there is before the end."""
    data = bytearray()
    while len(data) < size and (piece := stream.read(size - len(data))):
        data += piece
    return bytes(data)
