"""Tokens that only this appliance can make: a payload that anybody may read, and a code that nobody can forge."""

import base64
import binascii
import hashlib
import hmac
from typing import Final

MAX_TOKEN: Final = 4096


class Seal:
    """HMAC-SHA256 with a key of 32 bytes that every worker has. ``purpose`` is part of what is authenticated: the same key
    never makes a token of another kind that counts here."""

    def __init__(self, key: bytes, purpose: str, limit: int = MAX_TOKEN) -> None:
        """Raises ValueError: the key is too short."""
        if len(key) < 32:
            raise ValueError("a key of at least 32 bytes is needed")
        self._key, self._purpose, self._limit = key, purpose.encode(), limit

    def seal(self, payload: bytes) -> str:
        """The token: letters, digits, ``-``, ``_`` and one dot."""
        return f"{_encode(payload)}.{_encode(self._mac(payload))}"

    def open(self, token: str) -> bytes:
        """The payload. Raises ValueError: not a token, or not one of ours."""
        payload, mac = (_decode(part) for part in self._parts(token))
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise ValueError("not signed by this appliance")
        return payload

    def _parts(self, token: str) -> tuple[str, str]:
        payload, dot, mac = token.partition(".")
        if len(token) > self._limit or not (payload and dot and mac):
            raise ValueError("malformed")
        return payload, mac

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, self._purpose + b"\0" + payload, hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("malformed") from error
    if _encode(data) != text:
        raise ValueError("malformed")  # one token, one spelling
    return data
