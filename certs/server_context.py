"""The TLS that clients meet: one context per leaf, so that a second connection parses and checks nothing again."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL

from appliance.domain.tls_words import GROUPS, SIGNATURES, SUITES
from certs.leaf import LeafKey
from certs.ticket_keys import PERIOD

_lib = vars(SSL)["_lib"]

TLS13_CIPHERS = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""In the order of those for TLS 1.2. Processors have SHA-256 in hardware, and a handshake is mostly hashing: 10 % of it."""


@dataclass(frozen=True, slots=True)
class ClientFloor:
    """The least that a client must speak. ``ciphers`` are for TLS 1.2. Of each list the preferred is the first."""

    min_version: str = "1.2"
    ciphers: tuple[str, ...] = SUITES
    signatures: tuple[str, ...] = SIGNATURES
    groups: tuple[str, ...] = GROUPS

    def both(self, other: "ClientFloor") -> "ClientFloor":
        """What meets this floor and the other one, in the order of this one."""
        return ClientFloor(
            max(self.min_version, other.min_version),
            tuple(each for each in self.ciphers if each in other.ciphers),
            tuple(each for each in self.signatures if each in other.signatures),
            tuple(each for each in self.groups if each in other.groups),
        )

    @property
    def ecdsa(self) -> bool:
        """Whether a leaf with an ECDSA key can be served: TLS 1.3 ties the hash to the curve, and ours is P-256."""
        return "ecdsa_secp256r1_sha256" in self.signatures

    @property
    def rsa(self) -> bool:
        return any(each.startswith("rsa_") for each in self.signatures)

    @property
    def words(self) -> tuple[str, ...]:
        """All of it, so that two floors with the same words are the same floor."""
        return (self.min_version, *self.ciphers, "", *self.signatures, "", *self.groups)


DEFAULT_FLOOR = ClientFloor()
_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class LeafContext(SSL.Context):
    """A leaf, served at one floor. ``ticket_name``: of the key that tickets are made with, as far as it is ours."""

    ticket_name = b""

    def __init__(
        self, certificate: x509.Certificate, key: LeafKey, chain: Sequence[x509.Certificate], floor: ClientFloor
    ) -> None:
        super().__init__(SSL.TLS_SERVER_METHOD)
        self._leaf, self._floor = (certificate, key, chain), floor
        self._others: dict[ClientFloor, LeafContext] = {}

    def at(self, floor: ClientFloor) -> "LeafContext":
        """The same leaf at another floor, made once: there are no more floors than the configuration has."""
        if floor == self._floor:
            return self
        if floor not in self._others:
            self._others[floor] = build(*self._leaf, floor)
        return self._others[floor]


def build(
    certificate: x509.Certificate, key: LeafKey, chain: Sequence[x509.Certificate], floor: ClientFloor = DEFAULT_FLOOR
) -> LeafContext:
    """A server's context: TLS 1.2 and 1.3, the leaf and its intermediates, ALPN as each connection allows."""
    context = LeafContext(certificate, key, chain, floor)
    context.set_min_proto_version(_VERSIONS[floor.min_version])
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    raw = vars(context)["_context"]
    if _lib.SSL_CTX_set1_curves_list(raw, ":".join(floor.groups).encode()) != 1:
        raise ValueError("the TLS library does not know the groups for the key exchange")
    if _lib.SSL_CTX_set1_sigalgs_list(raw, ":".join(floor.signatures).encode()) != 1:
        raise ValueError("the TLS library does not know the signature algorithms")
    # level 2 refuses RSA and DH below 2048 bits, EC below 224, and SHA-1 in certificates and handshakes
    context.set_cipher_list(f"{':'.join(floor.ciphers)}:@SECLEVEL=2".encode())
    context.set_tls13_ciphersuites(TLS13_CIPHERS)
    # an idle connection keeps no record buffers: 34 KB each, 340 MB for 10,000
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # sessions travel in tickets; the library's own table would keep up to 20,480 of them in every context
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_timeout(int(PERIOD))
    context.use_certificate(certificate)
    context.use_privatekey(key)
    for each in chain:
        context.add_extra_chain_cert(each)
    context.set_alpn_select_callback(select_alpn)
    return context


def select_alpn(connection: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    """Our first choice that the client offers, out of ``get_app_data()["alpn"]``; none in common: no ALPN is sent.

    A client that offers protocols we do not speak is left to try HTTP/1.1, which is what it would get without ALPN.
    """
    data = connection.get_app_data()
    wanted: Sequence[bytes | str] = data.get("alpn", ()) if isinstance(data, dict) else ()
    for each in wanted:
        protocol = each.encode("ascii") if isinstance(each, str) else each
        if protocol in offered:
            return protocol
    return SSL.NO_OVERLAPPING_PROTOCOLS
