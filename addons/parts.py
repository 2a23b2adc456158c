"""The part that a client asked for, cut out of a whole that was scanned (RFC 9110 section 14).

Servers are asked for the whole (``ranges: whole``): a virus in two parts is none in either. But a player that seeks, or a
download that is resumed, wants its part.
"""

from typing import Final

from mitmproxy.http import HTTPFlow, Response

from addons.coding import ask_for_whole
from appliance.domain.byte_range import Unsatisfiable, wanted
from icap.client import Body

_ASKED: Final = "arcus.range"


def take_range(flow: HTTPFlow) -> None:
    """Ask the server for the whole, and remember what the client asked for."""
    headers = flow.request.headers
    if flow.request.method == "GET" and "range" in headers:
        flow.metadata[_ASKED] = (headers["range"], headers.get("if-range", ""))
    ask_for_whole(headers)


def wants_part(flow: HTTPFlow) -> bool:
    return _ASKED in flow.metadata


def cut(flow: HTTPFlow, size: int) -> tuple[int, int] | None:
    """Make the head of a whole answer of ``size`` octets that of the part, which is returned: from the first octet to before
    the second. None: the client gets the whole, as it does from a server that knows no ranges."""
    asked: tuple[str, str] | None = flow.metadata.pop(_ASKED, None)
    response = flow.response
    if asked is None or response is None or response.status_code != 200:
        return None
    try:
        part = wanted(asked[0], asked[1], _validators(response), size)
    except Unsatisfiable:
        part = (0, 0)
    if part is None:
        return None
    start, end = part
    response.status_code = 206 if end > start else 416
    response.reason = "Partial Content" if end > start else "Range Not Satisfiable"
    response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}" if end > start else f"bytes */{size}"
    response.headers["Content-Length"] = str(end - start)
    response.trailers = None  # they were those of the whole
    return part


def cut_held(flow: HTTPFlow) -> None:
    """The same for an answer that is held as a whole."""
    response = flow.response
    content = response.raw_content if wants_part(flow) and response is not None else None
    if response is not None and content is not None and (part := cut(flow, len(content))):
        response.data.content = content[part[0] : part[1]]


def _validators(response: Response) -> tuple[str, ...]:
    """A weak ETag never matches (RFC 9110 section 13.1.5)."""
    tags = (response.headers.get("etag", ""), response.headers.get("last-modified", ""))
    return tuple(tag for tag in tags if tag and not tag.startswith("W/"))


class Part(Body):
    """Octets of a body that is complete; it stays its owner's."""

    def __init__(self, whole: Body, start: int, end: int) -> None:
        super().__init__()
        self.size, self.ended = end - start, True
        self._whole, self._start = whole, start

    def read(self, offset: int, size: int) -> bytes:
        return self._whole.read(self._start + offset, max(0, min(size, self.size - offset)))
