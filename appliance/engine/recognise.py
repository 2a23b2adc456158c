"""Which protocol the first bytes of a tunnel speak."""

import re

from appliance.domain.facts import HelloFacts
from appliance.engine.clienthello import Progress, looks_like_tls, parse_client_hello

_METHOD = re.compile(rb"[A-Za-z!#$%&'*+.^_`|~0-9-]{1,32}\Z")
_REQUEST_LINE = re.compile(rb"[A-Za-z!#$%&'*+.^_`|~0-9-]{1,32} ")
_H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def classify(data: bytes, hello_limit: int, progress: Progress | None = None) -> HelloFacts | str | None:
    """A ClientHello's facts, ``http`` or ``unknown``; None when more bytes are needed.

    Raises:
        ClientError: it begins as TLS and is no acceptable ClientHello.
    """
    if not data:
        return None
    if looks_like_tls(data):
        return parse_client_hello(data, hello_limit, progress) if len(data) >= 3 else None
    if data.startswith(_H2_PREFACE[: len(data)]) and len(data) > 3:
        # HTTP/2 with prior knowledge cannot be told from a request until its end; the strict layer would refuse it.
        return "unknown" if len(data) >= len(_H2_PREFACE) else None
    return classify_plain(data)


def classify_plain(data: bytes) -> str | None:
    """As ``classify``, where TLS inside TLS is unknown, too.

    A first line that is complete must name a version: SMTP and FTP clients also begin with a word and a space.
    """
    if data in (b"\r", b"\r\n"):
        return None
    data = data.removeprefix(b"\r\n")  # RFC 9112 section 2.2: an empty line before a request is to be ignored
    if _REQUEST_LINE.match(data):
        line, end, _ = data.partition(b"\n")
        return "unknown" if end and b" HTTP/" not in line else "http"
    return None if not data or _METHOD.match(data) else "unknown"
