"""OCSP (RFC 6960): what is asked about a certificate, and what an answer is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, Hash, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from certs.strength import signature_weakness

SKEW = 300
"""Seconds that a responder's clock may be ahead of ours."""
CONTENT_TYPE = "application/ocsp-request"
MAX_URLS = 2
"""Of each kind that one certificate names; more are not asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a certificate is revoked, and until when that holds (seconds since the epoch; None: it does not say)."""

    revoked: bool
    until: float | None = None


def question(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """A request about one certificate. SHA-1 only names the issuer here, as every responder expects (RFC 5019)."""
    return ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, SHA1()).build().public_bytes(Encoding.DER)  # noqa: S303


def addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """The responders that a certificate names."""
    return access_urls(certificate, AuthorityInformationAccessOID.OCSP)


def access_urls(certificate: x509.Certificate, method: x509.ObjectIdentifier) -> tuple[str, ...]:
    """The http addresses in the authority information access of a certificate (RFC 5280 section 4.2.2.1)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    return http_urls([each.access_location for each in access if each.access_method == method])


def http_urls(names: Sequence[x509.GeneralName]) -> tuple[str, ...]:
    """Those of the names that are plain http addresses."""
    uris = (name.value for name in names if isinstance(name, x509.UniformResourceIdentifier))
    return tuple(uri for uri in uris if uri.lower().startswith("http://"))[:MAX_URLS]


def answer(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: float) -> Answer | None:
    """What a valid response says about ``certificate``; None when it is not valid, not about it, or does not know."""
    single = _single(data, certificate, issuer, now)
    if single is None or single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        return None
    until = single.next_update_utc
    return Answer(single.certificate_status is ocsp.OCSPCertStatus.REVOKED, until.timestamp() if until else None)


def _single(data: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: float) -> ocsp.OCSPSingleResponse | None:
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL or not _signed(response, issuer, now):
            return None
        single = next((each for each in response.responses if _is_about(each, leaf, issuer)), None)
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    return single if single is not None and _current(single, now) else None


def _is_about(single: ocsp.OCSPSingleResponse, leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    if single.serial_number != leaf.serial_number:
        return False
    return single.issuer_name_hash == _digest(
        single.hash_algorithm, issuer.subject.public_bytes()
    ) and single.issuer_key_hash == _digest(single.hash_algorithm, _key_bits(issuer))


def _digest(algorithm: HashAlgorithm, data: bytes) -> bytes:
    digest = Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _key_bits(issuer: x509.Certificate) -> bytes:
    """The BIT STRING inside SubjectPublicKeyInfo (RFC 6960 section 4.1.1): not the same bytes for RSA and EC."""
    key = issuer.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    raise TypeError("no EC or RSA key")


def _current(single: ocsp.OCSPSingleResponse, now: float) -> bool:
    if single.this_update_utc.timestamp() > now + SKEW:
        return False
    return single.next_update_utc is None or single.next_update_utc.timestamp() >= now


def _signed(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: float) -> bool:
    """By the issuer, or by a responder that the issuer certified for this (RFC 6960 section 4.2.2.2)."""
    signers = [issuer, *(each for each in response.certificates if _is_responder(each, issuer, now))]
    return any(_verifies(response, signer) for signer in signers)


def _is_responder(certificate: x509.Certificate, issuer: x509.Certificate, now: float) -> bool:
    if not certificate.not_valid_before_utc.timestamp() <= now + SKEW or certificate.not_valid_after_utc.timestamp() < now:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage and not signature_weakness(certificate)


def _verifies(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    if algorithm is None:
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True
