"""What a client needs to install an authority: its certificate in every usual form, never its key."""

import hashlib
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_key_and_certificates


class HasCertificate(Protocol):
    """An authority, or its public half."""

    @property
    def name(self) -> str: ...

    @property
    def certificate(self) -> x509.Certificate: ...


def pem(authority: HasCertificate) -> bytes:
    """For Linux, Firefox and OpenSSL."""
    return authority.certificate.public_bytes(Encoding.PEM)


def der(authority: HasCertificate) -> bytes:
    """For Windows and Android."""
    return authority.certificate.public_bytes(Encoding.DER)


def p12(authority: HasCertificate) -> bytes:
    """PKCS #12 with the certificate alone, under its authority's name and an empty password."""
    entry = PKCS12Certificate(authority.certificate, authority.name.encode())
    return serialize_key_and_certificates(None, None, None, [entry], NoEncryption())


def fingerprints(authority: HasCertificate) -> dict[str, str]:
    """``sha256`` and ``sha1`` as systems show them to a user: upper-case hex in pairs, joined by colons."""
    data = der(authority)
    # SHA-1 identifies here and protects nothing: Windows and older phones show no other
    digests = {"sha256": hashlib.sha256(data), "sha1": hashlib.sha1(data, usedforsecurity=False)}
    return {name: digest.digest().hex(":").upper() for name, digest in digests.items()}
