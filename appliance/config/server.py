"""Listeners: the ``server`` list."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from appliance.config.client_tls import ClientTls, Version
from appliance.config.values import FilePath, Listen, Name, Network, Node, Seconds, Size


class IngressFilter(Node):
    """Which source addresses may connect; the longest prefix decides, ``default`` otherwise."""

    default: Literal["allow", "deny"] = "allow"
    """When no network matches."""
    allow: list[Network] = []
    """Networks that may connect."""
    deny: list[Network] = []
    """Networks that may not; wins over ``allow`` at equal length."""


class Timeouts(Node):
    """Per phase, counted from the phase's start, not from the last byte (except the two ``idle`` values)."""

    handshake: Seconds = 20.0
    """SOCKS and TLS handshakes, and the first bytes of a tunnel. For an intercepted connection the server's is included."""
    header: Seconds = 20.0
    """From the first byte of a request header to its end."""
    client_idle: Seconds = 120.0
    """A connection with no request in progress."""
    body_idle: Seconds = 60.0
    """Between two reads of a body."""
    min_body_rate: Size = 100
    """Bytes per second that a request body must reach over each ``body_idle`` window."""
    tunnel_idle: Seconds = 300.0
    """A tunnel or WebSocket without a byte in either direction."""
    response: Seconds = 60.0
    """From the request's last byte to the response's first."""
    drain: Seconds = 30.0
    """How long a stopping worker lets open tasks finish."""


class Limits(Node):
    """What one client may cost. Each has a counter in the metrics and a reason word."""

    header_size: Size = 64 * 1024
    """Bytes of a request header."""
    header_count: int = Field(128, ge=1)
    """Fields of a request header."""
    url_length: Size = 16 * 1024
    """Bytes of a request target."""
    chunk_extension: Size = 256
    """Bytes of extensions of one chunk."""
    trailer_size: Size = 8 * 1024
    """Bytes of a trailer section."""
    response_header_size: Size = 128 * 1024
    """Bytes of a response header."""
    connections_per_client: int = Field(512, ge=1)
    """Open connections of one source address, per worker."""
    client_hello: Size = 16 * 1024
    """Bytes of a TLS ClientHello."""
    h2_streams: int = Field(128, ge=1)
    """Streams open at one time on one HTTP/2 connection."""
    h2_streams_per_second: int = Field(1000, ge=1)
    """New HTTP/2 streams on one connection."""
    h2_frames_per_second: int = Field(5000, ge=1)
    """Control frames, and DATA frames under 16 bytes; larger frames that carry body bytes are not counted."""


class ServerTls(Node):
    """TLS to the proxy itself: the listener's own certificate, never a forged one."""

    certificate: FilePath
    """A PEM file: the certificate, then its chain."""
    private_key: FilePath
    """Its key, as PEM without a passphrase."""
    min_version: Version = "1.2"
    """The lowest version of TLS."""


class TenantContext(Node):
    """The tenant of a listener."""

    tenant_id: Name
    """An existing tenant."""


class _Server(Node):
    name: Name
    """Stands in audit records and metrics."""
    listen: Listen
    """Where it listens."""
    escaper: Name | None = None
    """Used when the tenant names none."""
    tenant_context: TenantContext | None = None
    """Everything on this listener belongs to this tenant."""
    ingress_network_filter: IngressFilter = IngressFilter()
    """Who may connect at all."""
    max_connections: int = Field(10_000, ge=1)
    """Per worker process."""
    client_tls: ClientTls = ClientTls()
    """What clients must speak in connections that are decrypted here; a tenant's auditor may demand more."""
    timeouts: Timeouts = Timeouts()
    """Time limits."""
    limits: Limits = Limits()
    """Size and number limits."""


class HttpProxy(_Server):
    """Explicit proxy: absolute-form requests and CONNECT; over TLS when ``tls`` is set."""

    type: Literal["http_proxy"]
    """The kind of listener."""
    user_group: Name | None = None
    """Overrides the tenant's user group on this listener."""
    trusted_proxies: list[Network] = []
    """Peers whose X-Tenant-ID header is believed."""
    tls: ServerTls | None = None
    """The proxy itself speaks TLS to its clients."""


class SocksProxy(_Server):
    """SOCKS5 (RFC 1928), CONNECT only, without authentication or with user and password (RFC 1929)."""

    trusted_proxies: ClassVar[list[Network]] = []
    type: Literal["socks_proxy"]
    """The kind of listener."""
    user_group: Name | None = None
    """Overrides the tenant's user group on this listener."""


class TcpTproxy(_Server):
    """Transparent: nft ``redirect`` (the destination is read from SO_ORIGINAL_DST) or ``tproxy``."""

    # nobody can be asked for a password here, and no header speaks for the connection
    user_group: ClassVar[None] = None
    trusted_proxies: ClassVar[list[Network]] = []
    type: Literal["tcp_tproxy"]
    """The kind of listener."""
    mode: Literal["redirect", "tproxy"] = "redirect"
    """How nftables sends the traffic here."""


Server = Annotated[HttpProxy | SocksProxy | TcpTproxy, Field(discriminator="type")]
