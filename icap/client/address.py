"""ICAP URIs."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.domain.target import parse_authority

DEFAULT_PORT: Final = 1344
DEFAULT_TLS_PORT: Final = 11344
"""No RFC names a port for TLS from the first byte; this is the one squid uses."""

_UNIX: Final = re.compile(r"icap\+unix://((?:/[!-9;-~]+)+):(/[!\"$-~]+)")
_URI: Final = re.compile(r"(icaps?)://([^/?#@\s]+)(/[!-~]*)?")


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where a service is. ``uri`` is what stands in the request line: absolute, with port and query (RFC 3507 section 4.2)."""

    host: str
    port: int
    tls: bool
    path: str
    socket: Path | None = None
    """A unix socket instead of host and port, which then only stand in the request line."""

    @classmethod
    def parse(cls, uri: str) -> "ServiceAddress":
        """Raises ValueError when it is no ``icap://host[:port]/service``, ``icaps://`` or
        ``icap+unix:///path/to/socket:/service`` URI."""
        if (unix := _UNIX.fullmatch(uri)) is not None:
            return cls("localhost", DEFAULT_PORT, False, unix[2], Path(unix[1]))
        match = _URI.fullmatch(uri)
        if match is None or "#" in uri:
            raise ValueError(f"not an ICAP URI: {uri!r}")
        tls = match[1] == "icaps"
        target = parse_authority(match[2], DEFAULT_TLS_PORT if tls else DEFAULT_PORT)
        return cls(target.host, target.port, tls, match[3] or "/")

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def uri(self) -> str:
        # The scheme stays icap: the transport's protection is no part of the service's name, and servers compare it.
        return f"icap://{self.authority}{self.path}"

    def __str__(self) -> str:
        if self.socket is not None:
            return f"icap+unix://{self.socket}:{self.path}"
        return f"{'icaps' if self.tls else 'icap'}://{self.authority}{self.path}"
