"""Responses of our own, as HTTP/1.1 bytes."""

from collections.abc import Iterable
from http import HTTPStatus

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""RFC 9110 section 9.3.6: a successful answer to CONNECT has neither Content-Length nor Transfer-Encoding."""

TLS_ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"
"""A fatal access_denied alert (RFC 8446 section 6.2) in a record of its own."""


def assemble(status: int, headers: Iterable[tuple[str, str]], body: bytes, *, close: bool) -> bytes:
    """A complete response. Header values must be free of CR, LF and NUL (``policy.pages`` makes them so)."""
    lines = [f"HTTP/1.1 {status} {phrase(status)}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in ("content-length", "connection")]
    lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Unknown"
