"""Where clients can ask about the leaves of a CA: addresses that a leaf carries, and the paths that answer."""

from dataclasses import dataclass

FOLDER = "/pki/"
CRL, CERTIFICATE, OCSP = "ca.crl", "ca.cer", "ocsp"
IDENTITY_LENGTH = 32
"""Hex digits of a CA's fingerprint that name it in an address: 128 bits."""


@dataclass(frozen=True, slots=True)
class Publication:
    """Plain-HTTP addresses (RFC 5280 sections 4.2.1.13 and 4.2.2.1). An empty ``crl``: the CA may not sign CRLs."""

    crl: str
    ocsp: str
    issuer: str
    """The CA's certificate, in DER."""


def identity(fingerprint: str) -> str:
    """The name of a CA in addresses and folders. A CA that follows another has another, and its own CRL."""
    return fingerprint[:IDENTITY_LENGTH]


def publication(base: str, fingerprint: str, *, crl: bool = True) -> Publication:
    """The addresses below ``base`` (an http URL) for the CA with this fingerprint."""
    home = f"{base.rstrip('/')}{FOLDER}{identity(fingerprint)}/"
    return Publication(home + CRL if crl else "", home + OCSP, home + CERTIFICATE)
