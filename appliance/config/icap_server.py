"""Our own ICAP server: ``icap_server``."""

from typing import Literal

from pydantic import Field

from appliance.config.icap_listen import IcapTlsListen, IcapUnixListen
from appliance.config.values import FilePath, HostPort, Listen, Node, Seconds, Size


class ClamdScanner(Node):
    """clamd, over its socket. ``managed``: start our own clamd when nothing answers there."""

    type: Literal["clamd"]
    """The kind of scanner."""
    socket: FilePath | None = None
    """Path of clamd's local socket."""
    tcp: HostPort | None = None
    """host:port, instead of a socket."""
    managed: bool = False
    """Start a clamd of our own, under ``state_dir``, when nothing answers."""
    timeout: Seconds = 30.0
    """One scan, from the first byte sent to the verdict."""
    concurrency: int = Field(8, ge=1)
    """Scans at one time; further ones wait."""
    max_size: Size = 25 * 1024 * 1024
    """Bodies above are an error for the client's policy to decide, never clean. At most clamd's StreamMaxLength."""


class IcapServer(Node):
    """An ICAP server (RFC 3507) that hands bodies to a scanner."""

    listen: Listen
    """Where it listens. It has no authentication: keep it on loopback or a private network."""
    tls: IcapTlsListen | None = None
    """``icaps://`` as well."""
    unix: IcapUnixListen | None = None
    """A unix socket as well."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that share the addresses. Limits below, and the scanner's, are for each of them."""
    scanner: ClamdScanner
    """What judges the bodies."""
    preview: int = Field(1024, ge=0)
    """Bytes of a body that a client sends first (RFC 3507 section 4.5)."""
    max_connections: int = Field(512, ge=1)
    """Further connections are closed at once."""
    idle_timeout: Seconds = 120.0
    """A connection without a request."""
    header_timeout: Seconds = 10.0
    """From the first byte of a request to the end of its header sections."""
    body_timeout: Seconds = 30.0
    """Between two reads of a body."""
