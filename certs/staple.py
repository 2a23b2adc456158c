"""OCSP responses that a server sends with its certificate (RFC 6066 section 8, RFC 6960, RFC 7633).

A response that says "revoked" and is signed by the issuer refuses the server. One that is stale, unsigned or about
another certificate says nothing: whoever can replay it could leave it out as well, unless the certificate insists.
"""

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import Hash, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.domain.reason import Reason
from certs.strength import signature_weakness
from certs.verdict import Verdict

SKEW = 300
"""Seconds that a responder's clock may be ahead of ours."""


def check(response: bytes, chain: Sequence[x509.Certificate], now: float) -> Verdict | None:
    """Why the stapled ``response`` (empty: none was sent) refuses the leaf of ``chain`` at ``now``; None if it does not."""
    if len(chain) < 2:
        return None
    leaf, issuer = chain[0], chain[1]
    status = _status(response, leaf, issuer, now) if response else None
    if status is ocsp.OCSPCertStatus.REVOKED:
        return Verdict(Reason.UPSTREAM_CERT_REVOKED, "the server's own OCSP response says so")
    if status is not ocsp.OCSPCertStatus.GOOD and must_staple(leaf):
        return Verdict(
            Reason.UPSTREAM_CERT_STAPLE_MISSING, "the certificate demands an OCSP response, and no valid one was sent"
        )
    return None


def must_staple(leaf: x509.Certificate) -> bool:
    """Whether the certificate is void without a stapled response (status_request in its TLS feature extension)."""
    try:
        features = leaf.extensions.get_extension_for_class(x509.TLSFeature).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return x509.TLSFeatureType.status_request in features


def _status(data: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: float) -> ocsp.OCSPCertStatus | None:
    """What a valid response says about the leaf; None when it is not valid or not about it."""
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL or not _signed(response, issuer):
            return None
        single = next((each for each in response.responses if _is_about(each, leaf, issuer)), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if single is None or not _current(single, now):
        return None
    return single.certificate_status


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


def _signed(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> bool:
    """By the issuer, or by a responder that the issuer certified for this (RFC 6960 section 4.2.2.2)."""
    signers = [issuer, *(each for each in response.certificates if _is_responder(each, issuer))]
    return any(_verifies(response, signer) for signer in signers)


def _is_responder(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
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
