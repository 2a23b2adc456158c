"""Which servers are believed: one trust set, one OpenSSL context, every connection verified."""

import hashlib
import ssl
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL, crypto

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import ConfigError, Problem
from appliance.domain.reason import Reason
from appliance.domain.target import normalise_host, parse_ip
from certs import rules, staple, webpki
from certs.describe import names
from certs.server_context import CIPHER_LIST
from certs.verdict import Verdict, from_code

MAX_DEPTH = 10
"""Certificates above the leaf. Real chains have 2 or 3; a search through 100 intermediates takes seconds of one core."""
KEYS_KEPT = 4096
"""Certificates whose keys' fingerprints are remembered, about 1 MB."""

SIGNATURES = (
    "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:"
    "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:"
    "RSA+SHA256:RSA+SHA384:RSA+SHA512"
)
"""Nothing with SHA-1 or MD5, in certificates or in ServerKeyExchange (RFC 9155)."""

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

# pyOpenSSL has no public way to X509_VERIFY_PARAM, which holds the names and the time that a chain is checked against
_lib, _ffi = vars(SSL)["_lib"], vars(SSL)["_ffi"]


class TrustError(ConfigError):
    """Roots that cannot be loaded. Verification without them would refuse every server, so the start fails instead."""

    def __init__(self, file: Path | None, message: str) -> None:
        super().__init__([Problem(message, file=str(file) if file else "")])


@dataclass(slots=True)
class Verification:
    """What is known about the verification of one connection; it is the connection's application data."""

    host: str
    verdict: Verdict | None = None
    """The first refusal; it stays."""
    top: int | None = None
    """Depth of the trust anchor; 0 when the leaf itself is trusted."""
    chain: list[x509.Certificate] = field(default_factory=list)
    """What OpenSSL has accepted so far, leaf first."""

    def refuse(self, verdict: Verdict) -> bool:
        """Note the refusal; the value for OpenSSL's callback."""
        self.verdict = self.verdict or verdict
        return False


class UpstreamTrust:
    """Roots for verifying servers: the system's, the tenant's, and never our own.

    Args:
        roots: PEM files of more roots.
        system_roots: trust the operating system's bundle.
        exclude: SHA-256 fingerprints (hex) of our own CAs' certificates or public keys (``Authority.identities``).
            A chain that contains one is refused even if the system trusts it: otherwise whoever gets a leaf from
            one tenant's CA can be a server to another tenant.
        strict: demand the public web's profile as well (RFC 5280 to the letter, key identifiers in every
            certificate). Private CAs made by hand often fall short of it.

    Raises:
        TrustError: a file cannot be read, holds no certificate, or there is no root at all.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        system_roots: bool = True,
        exclude: Collection[str] = (),
        clock: Clock | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self._files = [*roots, *([system_bundle()] if system_roots else [])]
        if not self._files:
            raise TrustError(None, "no roots: neither ca_files nor system_roots")
        self._exclude = frozenset(exclude)
        self._keys: dict[str, str] = {}
        """Fingerprints of keys by those of their certificates: to write a key out costs more than everything around it."""
        self._clock = clock or SystemClock()
        self._strict = strict
        self._context = self._build()

    def context(self) -> SSL.Context:
        """The one context of this trust set; its root store is parsed once."""
        return self._context

    def connection(self, host: str, alpn: Sequence[bytes] = ()) -> SSL.Connection:
        """A client connection over memory buffers, about to start its handshake with ``host``.

        Raises:
            ValueError: ``host`` is neither a host name nor an IP address.
        """
        name = normalise_host(host)
        connection = SSL.Connection(self._context)
        connection.set_app_data(Verification(name))
        self._expect(connection, name)
        if alpn:
            connection.set_alpn_protos(list(alpn))
        connection.request_ocsp()
        connection.set_connect_state()
        return connection

    def verdict(self, connection: SSL.Connection, error: Exception | None = None) -> Verdict:
        """What verification said, after the handshake ended or failed with ``error``."""
        state = connection.get_app_data()
        if isinstance(state, Verification) and state.verdict is not None:
            return state.verdict
        code = _lib.SSL_get_verify_result(connection._ssl)
        if code:
            return from_code(code, message=_message(code))
        if error is None and connection.get_peer_certificate() is not None:
            return Verdict(Reason.OK)
        return _handshake_verdict(error)

    def classify(self, connection: SSL.Connection | int, error: Exception | None = None) -> Reason:
        """The reason word for a connection, or for a bare verification code of OpenSSL's."""
        if isinstance(connection, int):
            return from_code(connection).reason
        return self.verdict(connection, error).reason

    def _build(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_cipher_list(CIPHER_LIST)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        if _lib.SSL_CTX_set1_sigalgs_list(context._context, SIGNATURES.encode()) != 1:
            raise TrustError(None, "the TLS library does not know the signature algorithms to offer")
        context.set_verify(SSL.VERIFY_PEER, self._judge)
        context.set_verify_depth(MAX_DEPTH)
        context.set_ocsp_client_callback(self._judge_staple)
        for file in self._files:
            _load(context, file)
        store = context.get_cert_store()
        if store is None:
            raise TrustError(None, "the TLS library gave no store for the roots")
        # what the operator lists is an anchor, be it a root or a CA below one
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | (crypto.X509StoreFlags.X509_STRICT if self._strict else 0))
        return context

    def _expect(self, connection: SSL.Connection, name: str) -> None:
        """Names are matched against dNSName or iPAddress entries alone, never the common name (RFC 9525 section 2)."""
        param = _lib.SSL_get0_param(connection._ssl)
        address = parse_ip(name)
        if address is not None:
            ok = _lib.X509_VERIFY_PARAM_set1_ip(param, address.packed, len(address.packed))
        else:
            connection.set_tlsext_host_name(name.encode("ascii"))
            ok = _lib.X509_VERIFY_PARAM_set1_host(param, name.encode("ascii"), len(name))
        if ok != 1:
            raise ValueError(f"not a name to verify: {name!r}")
        flags = _lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | _lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
        _lib.X509_VERIFY_PARAM_set_hostflags(param, flags)
        _lib.X509_VERIFY_PARAM_set_time(param, int(self._clock.now()))

    def _judge(self, connection: SSL.Connection, raw: crypto.X509, code: int, depth: int, ok: int) -> bool:
        """OpenSSL's callback: once for a failure, or once for each certificate from the anchor down to the leaf."""
        state: Verification = connection.get_app_data()
        if not ok:
            return state.refuse(_failure(state.host, code, depth, raw))
        if state.top is None:
            state.top = depth
        broken = self._excluded(raw, depth)
        if broken is None and depth != state.top:
            # not for the anchor: roots are trusted by configuration, and old ones break today's rules
            broken = rules.check(raw, depth, state.host)
        if broken is None and self._strict:
            broken = self._second_opinion(state, raw, depth)
        return broken is None or state.refuse(broken)

    def _second_opinion(self, state: Verification, raw: crypto.X509, depth: int) -> Verdict | None:
        state.chain.insert(0, raw.to_cryptography())
        return webpki.check(state.chain, state.host, self._clock.now(), MAX_DEPTH) if depth == 0 else None

    def _excluded(self, raw: crypto.X509, depth: int) -> Verdict | None:
        if not self._exclude or self._exclude.isdisjoint(self._identities(raw)):
            return None
        return Verdict(Reason.UPSTREAM_CERT_UNTRUSTED, "signed by this appliance's own CA", depth=depth)

    def _identities(self, raw: crypto.X509) -> tuple[str, str]:
        """Fingerprints of the certificate and of its key, as ``Authority.identities`` has them."""
        certificate = raw.digest("sha256").decode("ascii").replace(":", "").lower()
        key = self._keys.get(certificate)
        if key is None:
            key = hashlib.sha256(crypto.dump_publickey(crypto.FILETYPE_ASN1, raw.get_pubkey())).hexdigest()
            if len(self._keys) >= KEYS_KEPT:
                self._keys.clear()
            self._keys[certificate] = key
        return certificate, key

    def _judge_staple(self, connection: SSL.Connection, response: bytes, _data: object) -> bool:
        state: Verification = connection.get_app_data()
        chain = verified_chain(connection)
        broken = staple.check(response, chain, self._clock.now())
        return broken is None or state.refuse(broken)


def system_bundle() -> Path:
    """The operating system's roots; ``SSL_CERT_FILE`` names others, as for every OpenSSL program. Raises TrustError."""
    paths = ssl.get_default_verify_paths()
    candidates = [Path(each) for each in (paths.cafile, *SYSTEM_BUNDLES) if each]
    found = next((each for each in candidates if each.is_file()), None)
    if found is None:
        raise TrustError(None, f"no system roots: none of {', '.join(map(str, candidates))} exists")
    return found


def _load(context: SSL.Context, file: Path) -> None:
    try:
        with file.open("rb"):
            context.load_verify_locations(str(file))
    except OSError as error:
        raise TrustError(file, f"cannot be read: {error.strerror}") from error
    except SSL.Error as error:
        raise TrustError(file, "holds no certificate in PEM form") from error


def _failure(host: str, code: int, depth: int, raw: crypto.X509) -> Verdict:
    certificate, malformed = rules.parse(raw, depth)
    if certificate is None:
        return Verdict(Reason.UPSTREAM_CERT_INVALID, malformed, code, depth)
    verdict = from_code(code, depth, certificate, _message(code))
    if verdict.reason is Reason.UPSTREAM_CERT_WRONG_HOST:
        shown = ", ".join(names(certificate)[:5]) or "no name"
        return Verdict(verdict.reason, f"{host} is not in the certificate, which is for {shown}", code, depth, certificate)
    return verdict


def _message(code: int) -> str:
    text = _ffi.string(_lib.X509_verify_cert_error_string(code))
    return str(text, "ascii", "replace")


_ABOUT_CERTIFICATES = (
    "asn1 encoding routines",
    "x509 certificate routines",
    "bad certificate",
    "certificate length",
    "no certificate",
)


def _handshake_verdict(error: Exception | None) -> Verdict:
    """A handshake that failed before any verification: some certificates cannot even be read."""
    detail = "; ".join(" ".join(map(str, each)) for each in _errors(error)) or "the handshake did not finish"
    about_certificate = any(word in detail for word in _ABOUT_CERTIFICATES)
    return Verdict(Reason.UPSTREAM_CERT_INVALID if about_certificate else Reason.UPSTREAM_TLS_FAILED, detail[:512])


def _errors(error: Exception | None) -> list[tuple[str, ...]]:
    """pyOpenSSL's error queue: (library, function, reason) each."""
    queue = error.args[0] if isinstance(error, SSL.Error) and error.args else []
    return (
        [tuple(part for part in each if part) for each in queue if isinstance(each, tuple)] if isinstance(queue, list) else []
    )


def verified_chain(connection: SSL.Connection) -> list[x509.Certificate]:
    """Leaf first, anchor last, as verification built it; empty before that."""
    return connection.get_verified_chain(as_cryptography=True) or []
