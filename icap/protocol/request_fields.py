"""What the head of a request says, read strictly."""

import re
from functools import lru_cache
from typing import Final

from icap.protocol.encapsulated import LEGAL_IN_REQUEST, Encapsulated, parse_encapsulated
from icap.protocol.errors import RemoteProtocolError
from icap.protocol.headers import Headers

_REQUEST_LINE: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) ICAP/([0-9]\.[0-9])")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")


def request_fields(start: str, headers: Headers) -> tuple[str, str, Encapsulated, int | None]:
    """Method, URI, what is encapsulated, and the length of the preview if there is one. Raises RemoteProtocolError."""
    method, uri = _request_line(start)
    return method, uri, _encapsulated(method, headers), _preview(headers)


@lru_cache(256)  # a client asks for few services; what is refused is not remembered
def _request_line(line: str) -> tuple[str, str]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError(f"not an ICAP request line: {line[:80]!r}")
    method, uri, version = match.groups()
    if version != "1.0":
        raise RemoteProtocolError(f"ICAP/{version}", status=505)
    if method not in LEGAL_IN_REQUEST:
        raise RemoteProtocolError(f"method {method[:40]}", status=501)
    return method, uri


def _encapsulated(method: str, headers: Headers) -> Encapsulated:
    text = headers.single("Encapsulated")
    if text is not None:
        return parse_encapsulated(text, LEGAL_IN_REQUEST[method])
    if method != "OPTIONS":
        raise RemoteProtocolError("no Encapsulated header")
    return Encapsulated((("null-body", 0),))


def _preview(headers: Headers) -> int | None:
    text = headers.single("Preview")
    if text is None:
        return None
    if not _DIGITS.fullmatch(text):
        raise RemoteProtocolError(f"not a Preview: {text[:40]!r}")
    # A preview of no body is complete with the header: squid sends Preview: 0 with null-body.
    return int(text)
