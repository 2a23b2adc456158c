"""Which servers are believed: one trust set, every connection verified, and every fault told by its own word."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL, crypto

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.hostmatch import domain_matcher
from appliance.domain.reason import Reason
from appliance.domain.target import normalise_host, parse_ip
from certs import client_certificate, encoding, rules, staple, webpki
from certs.client_identity import ClientIdentity
from certs.describe import names
from certs.floor import TlsFloor
from certs.handshake_failure import handshake_verdict
from certs.roots import Roots, TrustError
from certs.verdict import NO_ISSUER, Verdict, from_code, names_issuer_address
from certs.verification import Tolerates, Verification, readable, tolerates_nothing

MAX_DEPTH = 10
"""Certificates above the leaf. Real chains have 2 or 3; a search through 100 intermediates takes seconds of one core."""
MAX_SENT = 2 * MAX_DEPTH
"""Certificates that a server may send, junk included; a longer list is not searched."""
KEYS_KEPT = 4096
"""Certificates whose keys' fingerprints are remembered, about 1 MB."""
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
        floor: TlsFloor | None = None,
        legacy: Sequence[tuple[Sequence[str], TlsFloor]] = (),
        repairs: bool = False,
    ) -> None:
        self._roots = Roots(roots, system_roots)
        self._exclude, self._distrusted = frozenset(exclude), frozenset(distrusted)
        self._named = self._exclude | self._distrusted
        self._keys: dict[str, str] = {}
        """Fingerprints of keys by those of their certificates: to write a key out costs more than everything around it."""
        self._clock = clock or SystemClock()
        self._strict, self._repairs = strict, repairs
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
        store = self._store(name, chain)
        raw = [crypto.X509.from_cryptography(each) for each in chain]
        context = crypto.X509StoreContext(store, raw[0], raw[1:])
        try:
            built = context.get_verified_chain()
        except crypto.X509StoreContextError as error:
            code, depth, _ = error.errors
            return _failure(name, code, depth, error.certificate), []
        state = Verification(name, self._floor_for(name)[0], unaided=True)
        for depth in range(len(built) - 1, -1, -1):
            fault = next(self._faults(state, built[depth], 0, depth, 1), None)
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
        return crypto.X509StoreFlags.PARTIAL_CHAIN | (crypto.X509StoreFlags.X509_STRICT if self._strict else 0)

    def _store(self, name: str, chain: Sequence[x509.Certificate]) -> crypto.X509Store:
        store = crypto.X509Store()
        for anchor in self._roots.possible(chain):
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
        faults = list(self._faults(state, raw, code, depth, ok))
        if not ok and self._repairs and state.gap is None and _fillable(faults[0]):
            state.gap = faults[0]
            return True
        accepted = [state.accepts(fault, connection) for fault in faults]  # every fault is noted, also behind the first
        return all(accepted)

    def _faults(self, state: Verification, raw: crypto.X509, code: int, depth: int, ok: int) -> Iterator[Verdict]:
        if not ok:
            yield _failure(state.host, code, depth, raw)
            return
        if state.top is None:
            state.top = depth
        yield from self._by_name(raw, depth)
        if depth == 0 and state.misencoded:
            yield Verdict(Reason.UPSTREAM_CERT_MALFORMED, state.misencoded, certificate=rules.parse(raw, depth)[0])
        if depth != state.top:
            # not for the anchor: roots are trusted by configuration, and old ones break today's rules
            yield from rules.check(raw, depth, state.host)
        if state.unaided or state.floor.below_library or state.floor.above_library:
            yield from rules.check_strength(raw, depth, state.floor, anchor=depth == state.top)
        if self._strict:
            yield from self._second_opinion(state, raw, depth)

    def _second_opinion(self, state: Verification, raw: crypto.X509, depth: int) -> Iterator[Verdict]:
        certificate, _ = rules.parse(raw, depth)
        if certificate is None:
            return
        state.chain.insert(0, certificate)
        if depth == 0 and (fault := webpki.check(state.chain, state.host, self._clock.now(), MAX_DEPTH)):
            yield fault

    def _by_name(self, raw: crypto.X509, depth: int) -> Iterator[Verdict]:
        """Certificates and keys that are refused wherever they stand."""
        if not self._named:
            return
        known = self._named.intersection(self._identities(raw))
        if known & self._exclude:
            yield Verdict(Reason.UPSTREAM_CERT_OWN_CA, "signed by this appliance's own CA", depth=depth)
        if known & self._distrusted:
            yield Verdict(Reason.UPSTREAM_CERT_DISTRUSTED, f"the key {min(known & self._distrusted)}", depth=depth)

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
    return readable(connection.get_verified_chain() or [])
