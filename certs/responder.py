"""OCSP answers for the leaves of a CA (RFC 6960, in the light profile of RFC 5019).

The CA delegates: it signs a certificate for a key of the responder's own (section 4.2.2.2), good for OCSP and nothing
else. So the processes that answer never have the CA's key, and what they have is worth little and ends in two weeks.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.domain.clock import Clock
from certs.authority import Authority
from certs.leaf import USAGE, authority_key_identifier
from certs.nursery import signature_hash
from certs.revoked import REASONS, Revoked

LIFE = timedelta(days=14)
BACKDATE = timedelta(hours=1)
ANSWER_LIFE = timedelta(days=1)
"""How long clients may rely on an answer: this is also how long a revocation may take to reach one that asked before."""
REUSED = 3600
"""Seconds that an answer is given to everyone who asks about the same leaf."""
MAX_ANSWERS = 4096
MAX_REQUEST = 4096
"""Octets. A request for one certificate takes some 120."""
MAX_NONCE = 128
"""RFC 9654 section 2.1."""
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - as below
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
"""How a request may name its issuer. SHA-1 identifies here and protects nothing; RFC 5019 demands it."""

Status = ocsp.OCSPResponseStatus


@dataclass(frozen=True, slots=True)
class Delegate:
    """The responder's certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def to_pem(self) -> bytes:
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self.certificate.public_bytes(Encoding.PEM) + key

    @classmethod
    def from_pem(cls, data: bytes) -> "Delegate":
        """Raises ValueError."""
        try:
            key = load_pem_private_key(data, None)
        except (TypeError, UnsupportedAlgorithm) as error:
            raise ValueError("no key of a responder") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("no key of a responder")
        return cls(x509.load_pem_x509_certificate(data), key)

    def due(self, issuer: x509.Certificate, clock: Clock) -> bool:
        """Whether it has to be replaced: half of its life is over, or it is of another CA."""
        now = datetime.fromtimestamp(clock.now(), UTC)
        start, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        if not start <= now < start + (end - start) / 2:
            return True
        return self.certificate.issuer != issuer.subject or not _signed_by(self.certificate, issuer)


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def delegate(authority: Authority, clock: Clock) -> Delegate:
    """A new responder of this CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.fromtimestamp(int(clock.now()), UTC)
    issuer = authority.certificate
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "OCSP responder")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(127) | 1 << 126)
        .not_valid_before(max(now - BACKDATE, issuer.not_valid_before_utc))
        .not_valid_after(min(now + LIFE, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        # section 4.2.2.2.1: nobody has to ask about the one who answers
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_key_identifier(issuer), critical=False)
    )
    return Delegate(builder.sign(authority.key, signature_hash(authority.key)), key)


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """``body`` in DER. ``reusable`` until ``expires`` (seconds since the epoch), when it bears no nonce and no error."""

    body: bytes
    reusable: bool = False
    expires: float = 0.0


@dataclass(frozen=True, slots=True)
class _Question:
    issuer: tuple[bytes, bytes]
    serial: int
    algorithm: str
    nonce: bytes | None


class Responder:
    """Answers for one CA. ``revoked`` is the list as it is now: a new list needs a new responder.

    A leaf that is not on the list is good: leaves are not recorded when they are signed, so a serial that never was
    one is good as well (section 2.2 allows it).
    """

    def __init__(self, issuer: x509.Certificate, delegate: Delegate, revoked: Mapping[int, Revoked], clock: Clock) -> None:
        self._issuers = {name: _issuer_hashes(issuer, name) for name in _HASHES}
        self._delegate = delegate
        self._revoked = revoked
        self._clock = clock
        self._answers: dict[_Question, OcspAnswer] = {}

    def answer(self, request: bytes) -> OcspAnswer:
        """Never raises: what cannot be answered is told so (section 2.3)."""
        if len(request) > MAX_REQUEST:
            return _refusal(Status.MALFORMED_REQUEST)
        try:
            question = _read(request)
        except (ValueError, NotImplementedError):
            return _refusal(Status.MALFORMED_REQUEST)
        except (UnsupportedAlgorithm, x509.UnsupportedGeneralNameType, x509.DuplicateExtension):
            return _refusal(Status.UNAUTHORIZED)
        if self._issuers.get(question.algorithm) != question.issuer:
            return _refusal(Status.UNAUTHORIZED)
        known = self._answers.get(question)
        if known is not None and 0 <= known.expires - self._clock.now() <= REUSED:
            return known
        return self._keep(question, self._signed(question))

    def _keep(self, question: _Question, answer: OcspAnswer) -> OcspAnswer:
        if question.nonce is None:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            self._answers[question] = answer
        return answer

    def _signed(self, question: _Question) -> OcspAnswer:
        now = datetime.fromtimestamp(int(self._clock.now()), UTC)
        if self._delegate.certificate.not_valid_after_utc <= now:
            return _refusal(Status.TRY_LATER)
        end = min(now + ANSWER_LIFE, self._delegate.certificate.not_valid_after_utc)
        revoked = self._revoked.get(question.serial)
        name_hash, key_hash = question.issuer
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=name_hash,
            issuer_key_hash=key_hash,
            serial_number=question.serial,
            algorithm=_HASHES[question.algorithm],
            cert_status=ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=now - BACKDATE,
            next_update=end,
            revocation_time=datetime.fromtimestamp(revoked.at, UTC) if revoked else None,
            revocation_reason=REASONS[revoked.reason] if revoked and revoked.reason != "unspecified" else None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self._delegate.certificate)
        builder = builder.certificates([self._delegate.certificate])
        if question.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(question.nonce), critical=False)
        body = builder.sign(self._delegate.key, hashes.SHA256()).public_bytes(Encoding.DER)
        return OcspAnswer(body, question.nonce is None, now.timestamp() + REUSED)


def _read(request: bytes) -> _Question:
    """The one question of a request. Raises what cryptography's parser raises, and ValueError."""
    parsed = ocsp.load_der_ocsp_request(request)
    nonce = next((each.value.nonce for each in parsed.extensions if isinstance(each.value, x509.OCSPNonce)), None)
    if nonce is not None and not 1 <= len(nonce) <= MAX_NONCE:
        raise ValueError("a nonce of a length that RFC 9654 forbids")
    if parsed.serial_number.bit_length() > 160 or parsed.serial_number < 0:
        raise ValueError("not a serial number")
    return _Question((parsed.issuer_name_hash, parsed.issuer_key_hash), parsed.serial_number, parsed.hash_algorithm.name, nonce)


def _issuer_hashes(issuer: x509.Certificate, algorithm: str) -> tuple[bytes, bytes]:
    """Of the name, and of the key's bits without algorithm and padding (section 4.1.1)."""
    name = hashlib.new(algorithm, issuer.subject.public_bytes(), usedforsecurity=False)
    return name.digest(), hashlib.new(algorithm, _key_bits(issuer), usedforsecurity=False).digest()


def _key_bits(issuer: x509.Certificate) -> bytes:
    key = issuer.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)


def _refusal(status: ocsp.OCSPResponseStatus) -> OcspAnswer:
    return OcspAnswer(ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER))
