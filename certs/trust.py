"""Which servers are believed: one trust set, every connection verified, and every fault told by its own word."""

from collections.abc import Collection, Sequence
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL, crypto

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.hostmatch import domain_matcher
from appliance.domain.reason import Reason
from appliance.domain.target import normalise_host, parse_ip
from certs import client_certificate, encoding, rules, staple
from certs.client_identity import ClientIdentity
from certs.demands import MAX_DEPTH, Demands
from certs.describe import names
from certs.floor import TlsFloor
from certs.handshake_failure import handshake_verdict
from certs.paths import paths
from certs.roots import Roots, TrustError
from certs.verdict import NO_ISSUER, Verdict, from_code, names_issuer_address
from certs.verification import Tolerates, Verification, readable, sent_chain, tolerates_nothing

MAX_SENT = 2 * MAX_DEPTH
"""Certificates that a server may send, junk included; a longer list is not searched."""
_REFUSED_ANYWHERE = frozenset({Reason.UPSTREAM_CERT_OWN_CA, Reason.UPSTREAM_CERT_DISTRUSTED})
_SERVER_PURPOSE = 2
"""X509_PURPOSE_SSL_SERVER."""

# pyOpenSSL has no public way to X509_VERIFY_PARAM, which holds the names and the time that a chain is checked against
_lib, _ffi = vars(SSL)["_lib"], vars(SSL)["_ffi"]


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
        public: SHA-256 fingerprints (hex) of the roots of the public web. What CAs below them may not issue is refused
            (``certs.baseline``); below other roots it is let pass.
        distrusted: SHA-256 fingerprints (hex) of public keys that no chain may contain, at any depth.
        floor: what the handshake must offer at least.
        legacy: hosts (``name`` or ``.suffix``) with a floor of their own.
        repairs: an issuer that the server did not send, but whose address is known, ends the handshake not yet
            (``Verification.gap``): whoever runs the handshake has to complete the chain and ``judge`` it.

    Raises:
        TrustError: a file cannot be read, holds no certificate, or there is no root at all.
        ValueError: a floor names something that the TLS library does not know.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        system_roots: bool = True,
        exclude: Collection[str] = (),
        clock: Clock | None = None,
        *,
        strict: bool = False,
        distrusted: Collection[str] = (),
        public: Collection[str] = (),
        floor: TlsFloor | None = None,
        legacy: Sequence[tuple[Sequence[str], TlsFloor]] = (),
        repairs: bool = False,
    ) -> None:
        self._roots = Roots(roots, system_roots)
        self._clock = clock or SystemClock()
        self._demands = Demands(self._clock, exclude, distrusted, public, strict=strict)
        self._repairs = repairs
        self._floor = floor or TlsFloor()
        self._context = self._build(self._floor)
        self._identified: dict[tuple[TlsFloor, str], SSL.Context] = {}
        self._legacy = [(domain_matcher(hosts), each, self._build(each)) for hosts, each in legacy]

    def context(self) -> SSL.Context:
        """The one context of this trust set; its root store is parsed once."""
        return self._context

    def connection(
        self,
        host: str,
        alpn: Sequence[bytes] = (),
        tolerates: Tolerates = tolerates_nothing,
        identity: ClientIdentity | None = None,
    ) -> SSL.Connection:
        """A client connection over memory buffers, about to start its handshake with ``host``.

        ``tolerates`` is asked for each fault of the server's certificates; what it accepts is kept (``accepted``).
        ``identity``: what is presented when the server asks for it and has no fault.

        Raises:
            ValueError: ``host`` is neither a host name nor an IP address.
        """
        name = normalise_host(host)
        floor, context = self._floor_for(name)
        if identity is not None:
            context = self._presenting(floor, identity)
        connection = SSL.Connection(context)
        connection.set_app_data(Verification(name, floor, tolerates, identity=identity.sha256 if identity else ""))
        self._expect(connection, name)
        if alpn:
            connection.set_alpn_protos(list(alpn))
        connection.request_ocsp()
        connection.set_connect_state()
        return connection

    def verdict(self, connection: SSL.Connection, error: object = None) -> Verdict:
        """What verification said, after the handshake ended or failed with ``error`` (an exception of pyOpenSSL's or a text).

        OK also when every fault was tolerated: see ``accepted``.
        """
        state = connection.get_app_data()
        if isinstance(state, Verification) and (refused := state.verdict or state.gap) is not None:
            return refused
        code = _lib.SSL_get_verify_result(connection._ssl)
        if code:
            return from_code(code, message=_message(code))
        if error is None and connection.get_peer_certificate() is not None:
            return Verdict(Reason.OK)
        return handshake_verdict(error)

    def classify(self, connection: SSL.Connection | int, error: object = None) -> Reason:
        """The reason word for a connection, or for a bare verification code of OpenSSL's."""
        if isinstance(connection, int):
            return from_code(connection).reason
        return self.verdict(connection, error).reason

    def judge(self, host: str, chain: Sequence[x509.Certificate]) -> tuple[Verdict, list[x509.Certificate]]:
        """Verify, in full, a chain that came by other ways than one handshake: the verdict, and the chain up to its anchor.

        The first fault counts; the chain is empty unless the verdict is OK.
        """
        if len(chain) > MAX_SENT:
            return Verdict(Reason.UPSTREAM_CERT_CHAIN_TOO_LONG, f"{len(chain)} certificates"), []
        name = normalise_host(host)
        verdict, built = self._verify(Verification(name, self._floor_for(name)[0]), chain, self._roots.possible(chain))
        if _has_ways_round(verdict):
            built = self._way_round(Verification(name, self._floor_for(name)[0]), chain)
            verdict = Verdict(Reason.OK) if built else verdict
        return verdict, built

    def _way_round(self, state: Verification, sent: Sequence[x509.Certificate]) -> list[x509.Certificate]:
        """A chain without any fault among those that were not tried; empty when there is none."""
        if not 1 < len(sent) <= MAX_SENT:
            return []
        for below, anchor in paths(sent, self._roots.possible(sent), MAX_DEPTH):
            trial = Verification(state.host, state.floor, misencoded=state.misencoded)
            verdict, built = self._verify(trial, below, [anchor])
            if verdict.reason is Reason.OK:
                return built
        return []

    def _verify(
        self, state: Verification, chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
    ) -> tuple[Verdict, list[x509.Certificate]]:
        state.unaided = True
        raw = [crypto.X509.from_cryptography(each) for each in chain]
        context = crypto.X509StoreContext(self._store(state.host, anchors), raw[0], raw[1:])
        try:
            built = context.get_verified_chain()
        except crypto.X509StoreContextError as error:
            code, depth, _ = error.errors
            return _failure(state.host, code, depth, error.certificate), []
        for depth in range(len(built) - 1, -1, -1):
            fault = next(self._demands.unmet(state, built[depth], depth), None)
            if fault is not None:
                return fault, []
        return Verdict(Reason.OK), [each.to_cryptography() for each in built]

    def _floor_for(self, name: str) -> tuple[TlsFloor, SSL.Context]:
        for hosts, floor, context in self._legacy:
            if hosts.find(name) is not None:
                return floor, context
        return self._floor, self._context

    def _presenting(self, floor: TlsFloor, identity: ClientIdentity) -> SSL.Context:
        """A context of its own: no other connection can present the certificate, whatever goes wrong."""
        key = (floor, identity.sha256)
        if key not in self._identified:
            context = self._build(floor)
            identity.install(context)
            self._identified[key] = context
        return self._identified[key]

    def _build(self, floor: TlsFloor) -> SSL.Context:
        context = floor.context()
        context.set_verify(SSL.VERIFY_PEER, self._judge)
        context.set_verify_depth(MAX_DEPTH)
        context.set_ocsp_client_callback(self._judge_staple)
        self._roots.load_into(context)
        client_certificate.watch(context)
        encoding.watch(context)
        store = context.get_cert_store()
        if store is None:
            raise TrustError(None, "the TLS library gave no store for the roots")
        store.set_flags(self._flags())
        return context

    def _flags(self) -> int:
        # what the operator lists is an anchor, be it a root or a CA below one
        return crypto.X509StoreFlags.PARTIAL_CHAIN | (crypto.X509StoreFlags.X509_STRICT if self._demands.strict else 0)

    def _store(self, name: str, anchors: Sequence[x509.Certificate]) -> crypto.X509Store:
        store = crypto.X509Store()
        for anchor in anchors:
            store.add_cert(crypto.X509.from_cryptography(anchor))
        store.set_flags(self._flags())
        param = _ffi.gc(_lib.X509_VERIFY_PARAM_new(), _lib.X509_VERIFY_PARAM_free)
        self._name(param, name)
        _lib.X509_STORE_set1_param(store._store, param)
        _lib.X509_STORE_set_purpose(store._store, _SERVER_PURPOSE)
        return store

    def _expect(self, connection: SSL.Connection, name: str) -> None:
        if parse_ip(name) is None:
            connection.set_tlsext_host_name(name.encode("ascii"))
        self._name(_lib.SSL_get0_param(connection._ssl), name)

    def _name(self, param: object, name: str) -> None:
        """Names are matched against dNSName or iPAddress entries alone, never the common name (RFC 9525 section 2)."""
        address = parse_ip(name)
        if address is not None:
            ok = _lib.X509_VERIFY_PARAM_set1_ip(param, address.packed, len(address.packed))
        else:
            ok = _lib.X509_VERIFY_PARAM_set1_host(param, name.encode("ascii"), len(name))
        if ok != 1:
            raise ValueError(f"not a name to verify: {name!r}")
        flags = _lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | _lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
        _lib.X509_VERIFY_PARAM_set_hostflags(param, flags)
        _lib.X509_VERIFY_PARAM_set_time(param, int(self._clock.now()))

    def _judge(self, connection: SSL.Connection, raw: crypto.X509, code: int, depth: int, ok: int) -> bool:
        """OpenSSL's callback: once for a failure, or once for each certificate from the anchor down to the leaf."""
        state: Verification = connection.get_app_data()
        if state.built:  # what the library says of the chain that it took is void
            return True
        faults = list(self._demands.unmet(state, raw, depth)) if ok else [_failure(state.host, code, depth, raw)]
        if faults and _has_ways_round(faults[0]):
            state.built = tuple(self._way_round(state, sent_chain(connection)))
            if state.built:
                return True
        if not ok and self._repairs and state.gap is None and _fillable(faults[0]):
            state.gap = faults[0]
            return True
        accepted = [state.accepts(fault, connection) for fault in faults]  # every fault is noted, also behind the first
        return all(accepted)

    def _judge_staple(self, connection: SSL.Connection, response: bytes, _data: object) -> bool:
        if _lib.SSL_session_reused(connection._ssl):
            return True  # no certificate was sent, so no response to one: both were judged when the session was new
        state: Verification = connection.get_app_data()
        state.staple = response
        fault = staple.check(response, verified_chain(connection), self._clock.now())
        return fault is None or state.accepts(fault, connection)


def accepted(connection: SSL.Connection) -> tuple[Verdict, ...]:
    """The faults that were tolerated: none for a server that is as it should be."""
    state = connection.get_app_data()
    return tuple(state.faults) if isinstance(state, Verification) else ()


def _fillable(fault: Verdict) -> bool:
    return fault.code in NO_ISSUER and fault.certificate is not None and names_issuer_address(fault.certificate)


def _has_ways_round(fault: Verdict) -> bool:
    """A fault above the leaf, which another certificate of the same issuer might not have. What is refused by name stays."""
    above = fault.depth > 0 or fault.code in NO_ISSUER or fault.reason is Reason.UPSTREAM_CERT_NAME_CONSTRAINTS
    return above and fault.reason not in _REFUSED_ANYWHERE


def _failure(host: str, code: int, depth: int, raw: crypto.X509) -> Verdict:
    certificate, malformed = rules.parse(raw, depth)
    if certificate is None:
        return Verdict(Reason.UPSTREAM_CERT_MALFORMED, malformed, code, depth)
    verdict = from_code(code, depth, certificate, _message(code))
    if verdict.reason is Reason.UPSTREAM_CERT_WRONG_HOST:
        shown = ", ".join(names(certificate)[:5]) or "no name"
        return Verdict(verdict.reason, f"{host} is not in the certificate, which is for {shown}", code, depth, certificate)
    return verdict


def _message(code: int) -> str:
    text = _ffi.string(_lib.X509_verify_cert_error_string(code))
    return str(text, "ascii", "replace")


def verified_chain(connection: SSL.Connection) -> list[x509.Certificate]:
    """Leaf first, anchor last, as verification built it; empty before that."""
    state = connection.get_app_data()
    if isinstance(state, Verification) and state.built:
        return list(state.built)
    return readable(connection.get_verified_chain() or [])
