"""How a certificate and a key are told apart: SHA-256 over DER."""

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def certificate_sha256(certificate: x509.Certificate) -> str:
    """Fingerprint of the whole certificate, lower-case hex."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def spki_sha256(certificate: x509.Certificate) -> str:
    """Fingerprint of the public key (SubjectPublicKeyInfo, RFC 7469 section 2.4), lower-case hex.

    It stays the same when a CA certificate is renewed with its key, or cross-signed by another CA.
    """
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()
