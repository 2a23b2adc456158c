"""A certificate as an audit record shows it: bounded, printable, and never a reason to fail."""

from functools import lru_cache

from cryptography import x509

from appliance.domain.notes import CertNotes
from certs.fingerprint import certificate_sha256

MAX_TEXT = 512
MAX_NAMES = 100
"""A server's certificate is the server's to fill: 64 KiB of name must not become 64 KiB of audit record."""
KEPT = 512
"""Certificates whose facts are remembered: an intermediate comes with every connection, a leaf with each to its host."""


@lru_cache(maxsize=KEPT)
def describe(certificate: x509.Certificate) -> CertNotes:
    """The facts of a certificate that an analyst looks up. Times are seconds since the epoch, ``serial`` is hex."""
    return CertNotes(
        sha256=certificate_sha256(certificate),
        subject=name_text(certificate, "subject"),
        issuer=name_text(certificate, "issuer"),
        serial=serial_text(certificate),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        names=names(certificate),
    )


def name_text(certificate: x509.Certificate, field: str) -> str:
    """Subject or issuer as RFC 4514 text; a name that cannot be decoded is ``malformed``."""
    try:
        name = certificate.subject if field == "subject" else certificate.issuer
        return printable(name.rfc4514_string())
    except ValueError:
        return "malformed"


def serial_text(certificate: x509.Certificate) -> str:
    """Lower-case hex without a prefix; a negative serial keeps its sign."""
    return f"{certificate.serial_number:x}"[:64]


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Every DNS name and address as it stands in the certificate, up to MAX_NAMES."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    kept = [str(each.value) for each in value if isinstance(each, x509.DNSName | x509.IPAddress)]
    return tuple(printable(text) for text in kept[:MAX_NAMES])


def printable(text: str) -> str:
    """Without control characters: CR, LF, NUL and ANSI sequences of a certificate must not reach a log or terminal."""
    short = text[:MAX_TEXT]
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in short)[:MAX_TEXT]
