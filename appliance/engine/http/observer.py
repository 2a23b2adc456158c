"""What the layers tell, and ask of, the handler that owns the connection."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mitmproxy.connection import Server

from appliance.domain.reason import Reason, reason_of

_PHRASES = {
    400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 407: "Proxy Authentication Required",
    408: "Request Timeout", 413: "Content Too Large", 414: "URI Too Long", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip


class Observer(Protocol):
    """Five more methods are used when the observer has them:

    ``on_flow_violation(reason: Reason, detail: str) -> None``: as ``on_violation``, for a message that has a flow. The flow's
    error follows and starts with the reason's word, so a recorder needs no more than that; this is for counting.
    ``error_response(status: int, message: str) -> bytes``: a complete HTTP/1.1 response with a Content-Length for an error
    that has no flow response; ``message`` starts with a reason word where one is known (``domain.reason.reason_of``).
    ``parent_of(server: Server) -> Parent | None``: how requests on this upstream connection are addressed.
    ``own_host(host: str) -> str``: the name under which a request in origin-form on a proxy's port is served by ourselves, by
    the host that its Host field names; empty when it is not.
    ``leaving() -> bool``: whether the client should go on over another connection.
    """

    def on_violation(self, reason: Reason, detail: str) -> None:
        """What no flow tells of: a message refused before its flow, a limit of the whole connection, a response that could
        not be written, octets that an upstream sent outside of an exchange."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The peer is an HTTP proxy that takes absolute-form requests (RFC 9112 section 3.2.2)."""

    proxy_authorization: str | None = None


class Notices:
    """The observer with its optional methods resolved once per connection."""

    __slots__ = ("_error_response", "_parent_of", "flow_violation", "leaving", "own_host", "violation")

    def __init__(self, observer: Observer) -> None:
        self.violation: Callable[[Reason, str], None] = observer.on_violation
        self.flow_violation: Callable[[Reason, str], None] = getattr(observer, "on_flow_violation", _ignore)
        self._error_response: Callable[[int, str], bytes] = getattr(observer, "error_response", plain_error)
        self.own_host: Callable[[str], str] = getattr(observer, "own_host", _nobody)
        self.leaving: Callable[[], bool] = getattr(observer, "leaving", _never)
        self._parent_of: Callable[[Server], Parent | None] | None = getattr(observer, "parent_of", None)

    def error_response(self, status: int, message: str) -> bytes:
        """The response to send; a reason word in ``message`` decides the status, as it knows more than the event does."""
        reason = reason_of(message)
        if reason is not None and 400 <= reason.status < 600 and reason.status != 499:
            status = reason.status
        return self._error_response(status, message)

    def parent_of(self, server: Server) -> Parent | None:
        return self._parent_of(server) if self._parent_of is not None else None


def _ignore(reason: Reason, detail: str) -> None:
    """The flow's own error is enough."""


def _nobody(host: str) -> str:
    """A proxy that is no web server."""
    return ""


def _never() -> bool:
    """A connection that stays."""
    return False


def plain_error(status: int, message: str) -> bytes:
    """A short text/plain answer. Only the reason's fixed sentence is shown: details may repeat what a peer sent."""
    reason = reason_of(message)
    phrase = _PHRASES.get(status, "Error")
    body = (reason.text if reason is not None else phrase).encode() + b"\n"
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode() + body
