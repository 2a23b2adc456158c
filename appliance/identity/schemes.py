"""Authentication schemes on the wire: Basic (RFC 7617)."""

import base64
import binascii
import re
from typing import Final

MAX_HEADER: Final = 4096
"""Characters of a Proxy-Authorization value; 255 of name and 1,024 of password need at most 1,716."""
MAX_USER: Final = 255
MAX_PASSWORD: Final = 1024

_BASIC: Final = re.compile(r"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+={0,2})[ \t]*\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def parse_basic(header: str | bytes) -> tuple[str, str]:
    """User name and password of a ``Basic`` credential.

    Raises:
        ValueError: another scheme, too long, not canonical base64, not UTF-8, no colon, an empty or overlong name, or
            control characters. The message never quotes the input: it goes into logs.
    """
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    if len(text) > MAX_HEADER:
        raise ValueError("credentials too long")
    match = _BASIC.match(text)
    if match is None:
        raise ValueError("not Basic credentials")
    user, colon, password = _decode(match[1]).partition(":")
    if not colon or not user:
        raise ValueError("no user name and password in the credentials")
    if len(user) > MAX_USER or len(password) > MAX_PASSWORD:
        raise ValueError("user name or password too long")
    return user, password


def _decode(token: str) -> str:
    try:
        data = base64.b64decode(token, validate=True)
        text = data.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("the credentials are not UTF-8 in base64") from None
    if base64.b64encode(data).decode() != token:
        # Stray bits after the last byte (RFC 4648 section 3.5): many spellings of one credential would evade a deny list.
        raise ValueError("the credentials are not canonical base64")
    if _CONTROL.search(text):
        raise ValueError("control characters in the credentials")
    return text


def challenge(realm: str) -> str:
    """The value of Proxy-Authenticate. What cannot stand in a quoted-string is left out of the realm."""
    clean = "".join(char for char in realm if " " <= char <= "~").replace("\\", "\\\\").replace('"', '\\"')
    return f'Basic realm="{clean}", charset="UTF-8"'
