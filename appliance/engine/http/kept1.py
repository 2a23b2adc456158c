"""The first exchange on a connection that was left idle before: its server may just have closed it (RFC 9112 section 9.3.1).

A server that closes without a word has not answered, and perhaps never read, what was sent. Only requests that may be
made twice go out here, and they are, unseen by the client.
"""

from collections.abc import Callable
from typing import Final

from mitmproxy import http
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, ResponseProtocolError

from appliance.domain.reason import Reason
from appliance.engine.http.client1 import StrictHttp1Client
from appliance.engine.http.faults import describe

_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
"""RFC 9110 section 9.2.1. PUT and DELETE may be repeated as well, but not by somebody who does not know what they do."""
_SPEAKS_AGAINST: Final = frozenset((b"content-length", b"transfer-encoding", b"upgrade", b"expect"))


class ClosedUnanswered(ResponseProtocolError):
    """The server closed a kept connection instead of answering."""


class KeptHttp1Client(StrictHttp1Client):
    """From the second exchange on it is as any other."""

    _told: Callable[[], None] | None = None

    def _assemble(self, request: http.Request, end_stream: bool) -> bytes:
        self._told = getattr(self.conn, "arcus_kept", None) if is_repeatable(request) else None
        self.conn.arcus_kept = None  # type: ignore[attr-defined]
        return super()._assemble(request, end_stream)

    def read_headers(self, event: events.Event) -> CommandGenerator[None]:
        if self._told is not None and isinstance(event, events.ConnectionClosed) and self._is_unanswered():
            return self._closed_unanswered(self._told)
        return super().read_headers(event)

    def _is_unanswered(self) -> bool:
        """Asked, and closed without an octet. Half closed: by the server. What we closed ourselves, for a limit of ours, is not
        tried again."""
        answered = self.inbox or self.response is not None or self._informational
        return self.request is not None and not answered and self.conn.state is ConnectionState.CAN_WRITE

    def _closed_unanswered(self, told: Callable[[], None]) -> CommandGenerator[None]:
        told()
        yield from self.close()
        message = describe(Reason.UPSTREAM_CLOSED, "closed before the response")
        yield ReceiveHttp(ClosedUnanswered(self.stream_id, message, ErrorCode.GENERIC_SERVER_ERROR))


def is_kept(server: Connection) -> bool:
    """Whether it was taken from the idle ones, and has carried nothing since."""
    return getattr(server, "arcus_kept", None) is not None


def may_begin(server: Connection, request: http.Request) -> bool:
    """Whether this may be the first request on a connection that is at hand."""
    return not is_kept(server) or is_repeatable(request)


def is_repeatable(request: http.Request) -> bool:
    """Whether making it twice does nothing that making it once does not. It has come to its end: it has no content, which is
    not the same as none yet (``None``)."""
    data = request.data
    if data.method not in _SAFE or data.content != b"" or data.trailers:
        return False
    return _SPEAKS_AGAINST.isdisjoint([name.lower() for name, _ in data.headers.fields])
