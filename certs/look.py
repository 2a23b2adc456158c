"""A look at a server's TLS: a handshake over memory, far enough to know the server, and not a byte further."""

from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from OpenSSL import SSL

from appliance.domain.reason import Reason
from appliance.domain.upstream import UpstreamFacts
from certs.describe import describe
from certs.trust import UpstreamTrust
from certs.verdict import Verdict

PIECE = 65_536

# pyOpenSSL has no way to the callback that tells of a certificate request
_lib, _ffi = vars(SSL)["_lib"], vars(SSL)["_ffi"]
_SUSPEND = -1
"""The handshake stops here (SSL_set_cert_cb(3)): an answer without a certificate would only make the server log a failure."""


class Look:
    """One handshake. ``step`` until ``done``, then ``facts``.

    The server's certificate is verified as for live traffic. When the server asks for the client's certificate, the
    handshake is left where it is: in TLS 1.2 and 1.3 alike the server has proved itself by then.
    """

    def __init__(self, trust: UpstreamTrust, host: str, alpn: Sequence[str] = ()) -> None:
        """Raises ValueError: ``host`` is neither a host name nor an IP address."""
        self.done = False
        self._trust = trust
        self._asked = False
        self._error: SSL.Error | None = None
        self._connection = trust.connection(host, [name.encode("ascii") for name in alpn])
        # kept as long as the connection: OpenSSL calls into it
        self._on_request = _ffi.callback("int(SSL *, void *)", self._certificate_requested)
        _lib.SSL_set_cert_cb(self._connection._ssl, self._on_request, _ffi.NULL)

    def step(self, data: bytes = b"") -> bytes:
        """Take what the server sent, nothing at first; the answer is what to send it."""
        if data:
            self._connection.bio_write(data)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.WantX509LookupError:
            self.done = True
        except SSL.Error as error:
            self.done, self._error = True, error
        else:
            self.done = True
            self._connection.shutdown()
        return b"".join(self._outgoing())

    def facts(self, address: str = "") -> UpstreamFacts:
        """What was learnt. Before ``done`` it is a handshake that did not finish."""
        verdict = self._trust.verdict(self._connection, self._error if self.done else SSL.Error())
        chain = self._connection.get_peer_cert_chain(as_cryptography=True) or []
        leaf = chain[0] if chain else verdict.certificate if verdict.depth == 0 else None
        key_type, key_bits = ("", 0) if leaf is None else _key(leaf)
        return UpstreamFacts(
            reason=verdict.reason,
            detail=verdict.detail,
            certificate=None if leaf is None else describe(leaf),
            key_type=key_type,
            key_bits=key_bits,
            self_signed=leaf is not None and _self_issued(leaf),
            chain_sha256=tuple(describe(each).sha256 for each in chain[:10]),
            version=self._connection.get_protocol_version_name() if chain else "",
            cipher=(self._connection.get_cipher_name() or "") if chain else "",
            alpn=self._connection.get_alpn_proto_negotiated().decode("ascii", "replace"),
            asks_client_certificate=self._asked_as_far_as_known(verdict),
            address=address,
        )

    def _certificate_requested(self, _ssl: object, _data: object) -> int:
        self._asked = True
        return _SUSPEND

    def _asked_as_far_as_known(self, verdict: Verdict) -> bool | None:
        finished = self.done and self._error is None
        return True if self._asked else False if finished and verdict.reason is Reason.OK else None

    def _outgoing(self) -> Iterable[bytes]:
        while True:
            try:
                yield self._connection.bio_read(PIECE)
            except SSL.WantReadError:
                return


_KEYS: tuple[tuple[type, str], ...] = (
    (rsa.RSAPublicKey, "rsa"),
    (ec.EllipticCurvePublicKey, "ec"),
    (ed25519.Ed25519PublicKey, "ed25519"),
    (ed448.Ed448PublicKey, "ed448"),
    (dsa.DSAPublicKey, "dsa"),
)


def _key(leaf: x509.Certificate) -> tuple[str, int]:
    """Kind and size in bits; a key that cannot be read is ``unknown``."""
    try:
        key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "unknown", 0
    kind = next((word for known, word in _KEYS if isinstance(key, known)), "unknown")
    return kind, int(getattr(key, "key_size", 0) or 0)


def _self_issued(leaf: x509.Certificate) -> bool:
    try:
        return leaf.issuer == leaf.subject
    except ValueError:
        return False
