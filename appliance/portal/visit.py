"""A request to the portal and its answer, free of whoever carries them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from appliance.domain.ids import TenantId
from appliance.domain.target import Target


class Via(Enum):
    """How the client came here; it decides which proxy it is told of, and how a command line fetches a file."""

    PROXY = "proxy"
    DIRECT = "direct"
    """The listener's own address was asked as if it were a web server: perhaps no proxy is set yet."""
    SOCKS = "socks"
    TRANSPARENT = "transparent"


_LOOPBACK = Target("127.0.0.1", 8080)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request. ``path`` is without its query, ``host`` is what the Host field names, normalised, or empty."""

    method: str
    path: str
    tenant: TenantId | None
    host: str = ""
    query: str = ""
    scheme: str = "http"
    via: Via = Via.PROXY
    listener: Target = _LOOPBACK
    """Our address as the client reached it."""
    server: str = ""
    """Name of the listener."""
    client_ip: str = ""
    user_agent: str = ""
    body: bytes = b""

    @property
    def secure(self) -> bool:
        return self.scheme == "https"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response, without Content-Length."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    refused: bool = False
    """The client is not known, so it got nothing."""


type Handler = Callable[[Visit], Answer | Awaitable[Answer]]
