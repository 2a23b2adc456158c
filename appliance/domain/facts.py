"""What a decision may look at, and nothing else: a decision is a pure function of these."""

from dataclasses import dataclass, field

from appliance.domain.ids import TenantId
from appliance.domain.target import Target


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """The client's side of a connection, known before any byte is parsed."""

    ip: str
    port: int
    server: str
    """Name of the listener in the configuration."""
    listen_ip: str = ""
    listen_port: int = 0
    trusted_peer: bool = False
    """The peer is listed in the listener's ``trusted_proxies``."""


_TLS13 = 0x0304
# RFC 8446 section 4.2.3, and the suites of RFC 5289 and RFC 7905 that listeners serve
_ECDSA_SIGNATURE = frozenset({0x0403})
_ECDSA_SIGNATURES_TLS12 = frozenset({0x0403, 0x0503, 0x0603})
"""Before TLS 1.3 a signature's hash says nothing about the curve."""
_P256 = 0x0017
_RSA_SIGNATURES = frozenset({0x0804, 0x0805, 0x0806})
_ECDSA_SUITES = frozenset({0xC02B, 0xC02C, 0xCCA9})
_RSA_SUITES = frozenset({0xC02F, 0xC030, 0xCCA8})


@dataclass(frozen=True, slots=True)
class HelloFacts:
    """A TLS ClientHello (RFC 8446 section 4.1.2), as seen without consuming it."""

    sni: str = ""
    alpn: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    ciphers: tuple[int, ...] = ()
    signature_algorithms: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    has_ech: bool = False
    ja3: str = ""
    ja4: str = ""
    ticket: bytes = b""
    """The first 16 octets of the session ticket that the client shows first: the name of a key, if it is one of ours."""

    @property
    def accepts_ecdsa(self) -> bool:
        """Whether a P-256 ECDSA leaf can be served: ecdsa_secp256r1_sha256 is 0x0403 (RFC 8446 section 4.2.3).

        Before TLS 1.3 the client's groups are about certificates as well (RFC 8422 section 5.1.1).
        """
        if _TLS13 in self.versions:
            return self._accepts(_ECDSA_SIGNATURE, _ECDSA_SUITES)
        curve = not self.groups or _P256 in self.groups
        return curve and self._accepts(_ECDSA_SIGNATURES_TLS12, _ECDSA_SUITES)

    @property
    def accepts_rsa(self) -> bool:
        """Whether an RSA leaf can be served in each version the client may settle on: RSASSA-PSS is in all of them."""
        return self._accepts(_RSA_SIGNATURES, _RSA_SUITES)

    def _accepts(self, signatures: frozenset[int], suites: frozenset[int]) -> bool:
        """Before TLS 1.3 the cipher suite names the kind of key, too. A client that names nothing accepts anything."""
        signs = not self.signature_algorithms or not signatures.isdisjoint(self.signature_algorithms)
        return signs and (_TLS13 in self.versions or not self.ciphers or not suites.isdisjoint(self.ciphers))


@dataclass(frozen=True, slots=True)
class UserFacts:
    """An authenticated user. ``group`` is the user group's name in the configuration."""

    name: str
    group: str
    dst_ports: frozenset[int] | None = None
    dst_hosts: frozenset[str] | None = None
    """Allowed hosts, ``.suffix`` for a name and everything below it; None allows all."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What is known of one request or tunnel when a decision is made. Unknown is empty."""

    tenant: TenantId
    client: ClientFacts
    target: Target
    scheme: str = ""
    """``http``, ``https``, ``connect``, ``socks``, ``tcp``, ``ws``, ``wss``."""
    method: str = ""
    path: str = ""
    host_header: str = ""
    """Host or :authority as a normalised host, when it differs from ``target.host``."""
    sni: str = ""
    user: UserFacts | None = None
    original_ip: str = ""
    """The address that a redirected client dialled, where ``target`` has the name from its ClientHello instead."""
    headers: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Every host name this request claims, each judged on its own: a fronted name gains nothing."""
        return tuple(dict.fromkeys(name for name in (self.target.host, self.sni, self.host_header) if name))

    @property
    def url(self) -> str:
        scheme = self.scheme if self.scheme in ("http", "https", "ws", "wss") else ""
        return f"{scheme}://{self.target}{self.path}" if scheme else str(self.target)
