"""Ways out: the ``escaper`` list. Leaves connect, routers choose the next escaper."""

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from appliance.config.values import Address, Domain, FilePath, Host, Name, Network, Node, Regex, Seconds

type Strategy = Literal["IPv4First", "IPv6First", "IPv4Only", "IPv6Only"]


def one_per_family(addresses: list[str]) -> list[str]:
    """Local addresses: no names, and one for IPv4 and one for IPv6 at most."""
    families: dict[int, str] = {}
    for text in addresses:
        try:
            version = ipaddress.ip_address(text).version
        except ValueError as error:
            raise ValueError(f"not an IP address: {text!r}") from error
        if families.setdefault(version, text) != text:
            raise ValueError(f"two addresses of one family: {families[version]} and {text}")
    return addresses


type BindIp = Annotated[list[Host], AfterValidator(one_per_family)]


class EgressFilter(Node):
    """Addresses a direct escaper may reach, judged after name resolution. Loopback, link-local, private, metadata,
    multicast and this machine's own addresses are refused unless ``allow`` names them with a prefix at least as long;
    ``deny`` wins over ``allow`` at equal length. Our own listeners (address and port) are always refused."""

    allow: list[Network] = []
    """Networks that are opened."""
    deny: list[Network] = []
    """Networks that are refused."""


class _Escaper(Node):
    name: Name
    """What servers, tenants and routers refer to it by."""
    tenants: list[Name] = []
    """Only these tenants may use it; empty means all."""


class DirectFixed(_Escaper):
    """Connects to the destination itself."""

    type: Literal["direct_fixed"]
    """The kind of escaper."""
    resolver: Name | None = None
    """A resolver's name; the system's when absent."""
    resolve_strategy: Strategy = "IPv4First"
    """Which address family is tried first, or alone."""
    bind_ip: BindIp = []
    """Local addresses to connect from, one per address family."""
    egress_network_filter: EgressFilter = EgressFilter()
    """Which addresses may be reached."""
    connect_timeout: Seconds = 10.0
    """All tries together."""
    retry_attempts: int = Field(1, ge=0, le=10)
    """Further addresses, then further rounds, before giving up."""


class ProxyAuth(Node):
    """Credentials for a parent proxy."""

    username: str
    """The user name."""
    password: SecretStr
    """The password; never shown again."""


class _Parent(_Escaper):
    proxy_addr: Address
    """The parent's ``host:port``."""
    resolver: Name | None = None
    """Resolves the parent's name; the system's when absent."""
    auth: ProxyAuth | None = None
    """Credentials, where the parent asks for them."""
    bind_ip: BindIp = []
    """Local addresses to connect from, one per address family."""
    connect_timeout: Seconds = 10.0
    """All tries and the handshake with the parent together."""


class ProxyHttp(_Parent):
    """An HTTP parent proxy: CONNECT for TLS and tunnels, absolute-form for plain HTTP."""

    type: Literal["proxy_http"]
    """The kind of escaper."""


class TlsClient(Node):
    """TLS to a parent proxy."""

    ca_certificate: FilePath | None = None
    """PEM roots for this peer; the system's when absent."""
    server_name: Host | None = None
    """The name in SNI and in the certificate; the host of ``proxy_addr`` when absent."""


class ProxyHttps(_Parent):
    """As proxy_http, over TLS that is verified."""

    type: Literal["proxy_https"]
    """The kind of escaper."""
    tls_client: TlsClient = TlsClient()
    """How the parent is verified."""


class ProxySocks5(_Parent):
    """A SOCKS5 parent. ``resolve_locally`` sends it addresses instead of names."""

    type: Literal["proxy_socks5"]
    """The kind of escaper."""
    resolve_locally: bool = False
    """Send the parent addresses instead of names."""


class DummyDeny(_Escaper):
    """No way out: a 403 page, no name resolution, no connection."""

    type: Literal["dummy_deny"]
    """The kind of escaper."""


class RouteRule(Node):
    """Exactly one of the four matches, the next escaper, and optionally the tenants it is for."""

    exact_match: Host | None = None
    """A host."""
    child_match: Domain | None = None
    """A domain and everything below it."""
    subnet_match: Network | None = None
    """A network of destination addresses."""
    regex_match: Regex | None = None
    """A pattern for the whole host name."""
    next: Name
    """The escaper to go on with."""
    tenant: Name | None = None
    """A rule with a tenant is asked before the rules without one."""

    @model_validator(mode="after")
    def _one_match(self) -> "RouteRule":
        matches = (self.exact_match, self.child_match, self.subnet_match, self.regex_match)
        if sum(match is not None for match in matches) != 1:
            raise ValueError("give exactly one of exact_match, child_match, subnet_match and regex_match")
        return self


class RouteUpstream(_Escaper):
    """Chooses by destination: exact name, longest parent domain, longest network, then regular expressions in order."""

    type: Literal["route_upstream"]
    """The kind of escaper."""
    resolver: Name | None = None
    """When set, ``subnet_match`` is also asked about the addresses of names."""
    rules: list[RouteRule] = []
    """Where to go on, by destination."""
    fallback_next: Name
    """The escaper when no rule matches."""


Escaper = Annotated[DirectFixed | ProxyHttp | ProxyHttps | ProxySocks5 | DummyDeny | RouteUpstream, Field(discriminator="type")]
