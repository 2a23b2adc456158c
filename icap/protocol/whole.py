"""A request that arrived whole in one read, as nearly all do: parsed where it lies, without buffers and states.

Whatever is unusual (a fold, two chunks, an extension, a limit, an error, another request behind it) is left to the general
parser, which reads the same bytes from their beginning: it alone decides what is an error, and so both always agree.
"""

import re
from collections.abc import Callable
from typing import Final

from icap.protocol.encapsulated import Encapsulated, is_section
from icap.protocol.events import Data, EndOfMessage, PreviewEnd, Request
from icap.protocol.headers import Headers, plain_fields
from icap.protocol.limits import Limits

_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LAST: Final = b"\r\n0\r\n\r\n"
_LAST_IEOF: Final = b"\r\n0; ieof\r\n\r\n"

type Reader = Callable[[str, Headers], tuple[str, str, Encapsulated, int | None]]


type Whole = tuple[Request, Data, EndOfMessage | PreviewEnd] | tuple[Request]


def read_whole(data: bytes, limits: Limits, reader: Reader) -> Whole | None:
    """The request's events, or None for the general parser. ``reader`` reads start line and fields, and raises as that does.

    Raises:
        RemoteProtocolError: ``reader`` refuses; the general parser would meet the same.
    """
    end = data.find(b"\r\n\r\n") + 2
    if end < 2 or end + 2 > limits.header_bytes:
        return None
    start, _, block = data[:end].decode("latin-1").partition("\r\n")
    headers = plain_fields(block, limits)
    if headers is None or len(start) > limits.start_line:
        return None
    method, uri, encapsulated, preview = reader(start, headers)
    at = end + 2
    heads: dict[str, bytes] = {}
    for name, size in encapsulated.heads:
        section = data[at : at + size]
        if len(section) != size or size > limits.section_bytes or not is_section(section):
            return None
        heads[name] = section
        at += size
    request = Request(method, uri, headers, heads.get("req-hdr"), heads.get("res-hdr"), encapsulated.has_body, preview)
    if request.body:
        return _with_body(request, data, at, limits)
    return (request,) if len(data) == at else None


def _with_body(request: Request, data: bytes, at: int, limits: Limits) -> Whole | None:
    """The body as one chunk and the last one, and nothing behind it."""
    line = data.find(b"\r\n", at, at + 10)
    if line < 0 or not _SIZE.fullmatch(data, at, line):
        return None
    size, start, preview = int(data[at:line], 16), line + 2, request.preview
    last = data[start + size :]
    if not size or size > limits.body_bytes or (preview is not None and size > preview):
        return None
    if last == _LAST:
        return request, Data(data[start : start + size]), EndOfMessage() if preview is None else PreviewEnd()
    if last == _LAST_IEOF and preview is not None:
        return request, Data(data[start : start + size]), EndOfMessage(ieof=True)
    return None
