"""HTTP/1 header blocks that go back to the client."""

import html
from typing import Final

from appliance.domain.reason import Reason
from icap.protocol.httphead import HttpHead, end_to_end, parse_head

_VIA: Final = (b"Via", b"ICAP/1.0 arcus")


def returned_head(head: bytes) -> bytes:
    """A received head as it goes back: names, case, order and duplicates as they came, hop-by-hop fields dropped and our
    Via added (RFC 3507 section 4.4.2).

    Raises:
        RemoteProtocolError: it is no HTTP/1 head.
    """
    parsed = parse_head(head)
    return bytes(HttpHead(parsed.start_line, (*end_to_end(parsed.fields), _VIA)))


_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Blocked</title></head>
<body>
<h1>Blocked</h1>
<p>{text}</p>
<p>Signature or rule: <code>{signature}</code></p>
<p>Scanner: {engine}</p>
</body>
</html>
"""


def block_page(reason: Reason, signature: str, engine: str) -> tuple[bytes, bytes]:
    """Head and body of the HTTP answer in the place of an infected message. Nothing of the message itself is repeated."""
    body = _PAGE.format(text=html.escape(reason.text), signature=html.escape(signature), engine=html.escape(engine)).encode()
    fields = (
        "HTTP/1.1 403 Forbidden",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Content-Security-Policy: default-src 'none'",
        "X-Content-Type-Options: nosniff",
        "Via: ICAP/1.0 arcus",
    )
    return ("\r\n".join(fields) + "\r\n\r\n").encode(), body
