"""Lists of revoked certificates (RFC 5280 section 5): which are believed, and what they say about one certificate."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtensionOID

from certs.ocsp_answer import SKEW, Answer, http_urls
from certs.strength import WEAK_HASHES

_UNDERSTOOD = frozenset(
    {ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.CRL_NUMBER, ExtensionOID.ISSUING_DISTRIBUTION_POINT}
)
"""Critical extensions of a list that are known here; a list with any other is not used (section 5.2)."""


def addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """The lists that a certificate names. Lists signed by somebody other than its issuer are left out."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    names = [name for point in points if point.full_name and not point.crl_issuer for name in point.full_name]
    return http_urls(names)


def answer(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: float) -> Answer | None:
    """What the list says about ``certificate``; None when it is not valid, or not the one that would name it."""
    try:
        found = x509.load_pem_x509_crl(data) if data.startswith(b"-----BEGIN") else x509.load_der_x509_crl(data)
        if not _believed(found, issuer, now) or not _covers(found, certificate):
            return None
        entry = found.get_revoked_certificate_by_serial_number(certificate.serial_number)
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return None
    until = found.next_update_utc
    revoked = entry is not None and not _given_back(entry)
    return Answer(revoked, until.timestamp() if until else None)


def _believed(found: x509.CertificateRevocationList, issuer: x509.Certificate, now: float) -> bool:
    """Signed by the issuer with a sound hash, by a key that may sign lists, and current."""
    key, algorithm = issuer.public_key(), found.signature_hash_algorithm
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return False
    if found.issuer != issuer.subject or (algorithm is not None and algorithm.name in WEAK_HASHES):
        return False
    until = found.next_update_utc
    current = found.last_update_utc.timestamp() <= now + SKEW and until is not None and until.timestamp() >= now
    return current and _may_sign_lists(issuer) and found.is_signature_valid(key)


def _may_sign_lists(issuer: x509.Certificate) -> bool:
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _covers(found: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    """Whether the certificate would be on this list if it were revoked (section 6.3.3, b)."""
    for extension in found.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            return False  # a delta, among others
        if isinstance(extension.value, x509.IssuingDistributionPoint) and not _is_for(extension.value, certificate):
            return False
    return True


def _is_for(point: x509.IssuingDistributionPoint, certificate: x509.Certificate) -> bool:
    if point.indirect_crl or point.only_contains_attribute_certs or point.only_some_reasons or point.relative_name:
        return False
    is_ca = _is_ca(certificate)
    if (point.only_contains_user_certs and is_ca) or (point.only_contains_ca_certs and not is_ca):
        return False
    # one of several parts of a list: another part, replayed by whoever is on the way, would not name the certificate
    return not point.full_name or bool(set(http_urls(point.full_name)) & set(addresses(certificate)))


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _given_back(entry: x509.RevokedCertificate) -> bool:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.remove_from_crl
    except x509.ExtensionNotFound:
        return False
