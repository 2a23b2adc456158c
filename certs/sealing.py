"""Encryption of what leaves this machine: AES-256-GCM, with keys out of one file that only its owner can read.

The file has a line ``names BASE64``, by which things are named, and a line ``IDENTIFIER BASE64`` for each key. The first key
encrypts; the others are known by their identifier, so that a new one in front is put into use while everything that was
written before can still be read.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.domain.errors import ConfigError, Problem
from appliance.files import locked, write_whole

KEY = 32
MAX_KEYS = 8
_IDENTIFIER = 4
_NONCE = 12
_TAG = 16
_VERSION = 1
_HEAD = 1 + _IDENTIFIER + _NONCE
OVERHEAD = _HEAD + _TAG
"""Octets by which sealed text is longer."""
_LINE = re.compile(r"(names|[0-9a-f]{8}) ([A-Za-z0-9+/]{43}=)")
_MAX_FILE = 4096


class SealError(ValueError):
    """What was to be opened was not sealed by us, for this place, with a key that we have."""


class KeyRing:
    """Random nonces of 96 bits: a key may seal some 2**32 times (NIST SP 800-38D section 8.3) before it must be rotated."""

    def __init__(self, naming: bytes, keys: list[bytes]) -> None:
        if not keys or any(len(key) != KEY for key in (naming, *keys)):
            raise ValueError("a ring needs keys of 256 bits")
        self._current = _identifier(keys[0])
        self._keys = {_identifier(key): AESGCM(key) for key in keys}
        self._naming = naming

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys, current {self._current.hex()})"

    def seal(self, data: bytes, place: bytes) -> bytes:
        """Encrypted, and bound to ``place``: elsewhere it cannot be opened."""
        nonce = secrets.token_bytes(_NONCE)
        head = bytes((_VERSION,)) + self._current + nonce
        return head + self._keys[self._current].encrypt(nonce, data, head + place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """What was sealed for this place. Raises SealError."""
        if len(sealed) < OVERHEAD or sealed[0] != _VERSION:
            raise SealError("not sealed by us")
        head, identifier = sealed[:_HEAD], sealed[1 : 1 + _IDENTIFIER]
        key = self._keys.get(identifier)
        if key is None:
            raise SealError("sealed with a key that we do not have")
        try:
            return key.decrypt(head[1 + _IDENTIFIER :], sealed[_HEAD:], head + place)
        except InvalidTag as error:
            raise SealError("changed, or put in another place") from error

    def name(self, data: bytes) -> str:
        """A name for ``data`` that tells nobody without the key what it is: 128 bits in hex."""
        return hmac.digest(self._naming, data, "sha256")[:16].hex()


def _identifier(key: bytes) -> bytes:
    return hashlib.sha256(b"arcus key identifier" + key).digest()[:_IDENTIFIER]


def _text(naming: bytes, keys: list[bytes]) -> bytes:
    lines = [("names", naming), *((_identifier(key).hex(), key) for key in keys)]
    return "".join(f"{word} {base64.b64encode(key).decode()}\n" for word, key in lines).encode()


def ensure(file: Path) -> None:
    """Make the file with one new key unless it is there. Raises OSError."""
    with locked(file.with_name(f".{file.name}.lock")):
        if not file.exists():
            write_whole(file, _text(secrets.token_bytes(KEY), [secrets.token_bytes(KEY)]))


def load(file: Path) -> KeyRing:
    """The keys of a file. Raises ConfigError."""
    naming, *keys = _read(file)
    return KeyRing(naming, keys)


def rotate(file: Path, keep: int = 1) -> str:
    """Put a new key in front, and keep so many of those before it for reading. The new key's identifier.

    Raises:
        ConfigError: the file cannot be read.
        OSError: it cannot be written.
    """
    new = secrets.token_bytes(KEY)
    naming, *keys = _read(file)
    write_whole(file, _text(naming, [new, *keys[:keep]]))
    return _identifier(new).hex()


def _read(file: Path) -> list[bytes]:
    """The key for names, then the others."""
    try:
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077:
                raise _problem(file, "other users can read the keys in it: chmod 600")
            text = stream.read(_MAX_FILE + 1).decode("ascii", "replace")
    except OSError as error:
        raise _problem(file, f"cannot be read: {error.strerror}") from error
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if not 2 <= len(lines) <= MAX_KEYS + 1 or len(text) > _MAX_FILE:
        raise _problem(file, f"must hold the line of names and 1 to {MAX_KEYS} keys, one a line")
    return [_key(file, number, line) for number, line in enumerate(lines)]


def _key(file: Path, number: int, line: str) -> bytes:
    match = _LINE.fullmatch(line)
    try:
        key = base64.b64decode(match[2], validate=True) if match else b""
    except binascii.Error:
        key = b""
    word = "names" if number == 0 else _identifier(key).hex()
    if not match or len(key) != KEY or match[1] != word:
        raise _problem(file, f"line {number + 1} is damaged")
    return key


def _problem(file: Path, message: str) -> ConfigError:
    return ConfigError([Problem(message, file=str(file))])
