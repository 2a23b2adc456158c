"""Why a server's certificate was refused: from OpenSSL's verification codes to reason words."""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from appliance.domain.reason import Reason

# OpenSSL's X509_V_ERR_* numbers (x509_vfy.h); the binding does not name all of them
NOT_YET_VALID = 9
EXPIRED = 10
SELF_SIGNED_LEAF = 18
NO_ISSUER = frozenset({2, 20, 21})
"""No certificate of the issuer: neither sent nor trusted."""

_REASONS = {
    NOT_YET_VALID: Reason.UPSTREAM_CERT_NOT_YET_VALID,
    EXPIRED: Reason.UPSTREAM_CERT_EXPIRED,
    SELF_SIGNED_LEAF: Reason.UPSTREAM_CERT_SELF_SIGNED,
    19: Reason.UPSTREAM_CERT_UNTRUSTED,  # a self-signed certificate at the end of the chain
    27: Reason.UPSTREAM_CERT_UNTRUSTED,
    28: Reason.UPSTREAM_CERT_UNTRUSTED,
    62: Reason.UPSTREAM_CERT_WRONG_HOST,
    63: Reason.UPSTREAM_CERT_WRONG_HOST,
    64: Reason.UPSTREAM_CERT_WRONG_HOST,
    66: Reason.UPSTREAM_CERT_WEAK,  # the leaf's key
    67: Reason.UPSTREAM_CERT_WEAK,  # a CA's key
    68: Reason.UPSTREAM_CERT_WEAK,  # a CA's digest
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification said. ``depth`` counts from the leaf, ``code`` is OpenSSL's (0: one of our own rules).

    ``certificate`` is the one that was refused, as far as it could be read: after a failed handshake the connection
    itself no longer has it.
    """

    reason: Reason
    detail: str = ""
    code: int = 0
    depth: int = 0
    certificate: x509.Certificate | None = field(default=None, compare=False, repr=False)

    @property
    def text(self) -> str:
        """For ``TlsNotes.verify``: ``ok``, or the reason word with the detail."""
        return "ok" if self.reason is Reason.OK else f"{self.reason.word}: {self.detail}"


def from_code(code: int, depth: int = 0, certificate: x509.Certificate | None = None, message: str = "") -> Verdict:
    """The verdict for a code of OpenSSL's; ``certificate`` is the one that it was found at."""
    if code == 0:
        return Verdict(Reason.OK)
    known = _REASONS.get(code, Reason.UPSTREAM_CERT_INVALID)
    reason = _missing_issuer(depth, certificate) if code in NO_ISSUER else known
    return Verdict(reason, message or f"verification error {code}", code, depth, certificate)


def _missing_issuer(depth: int, certificate: x509.Certificate | None) -> Reason:
    """Untrusted, or incomplete? What a missing issuer would have been is not in the chain, so this is a judgement.

    A public CA puts the address of the issuer's certificate into every leaf (caIssuers, RFC 5280 section 4.2.2.1):
    a server that sends such a leaf alone forgot the intermediates. A private root signs leaves without it. With an
    intermediate in place, what is missing is the root.
    """
    if depth == 0 and certificate is not None and names_issuer_address(certificate):
        return Reason.UPSTREAM_CERT_INCOMPLETE
    return Reason.UPSTREAM_CERT_UNTRUSTED


def names_issuer_address(certificate: x509.Certificate) -> bool:
    """Whether the certificate says where its issuer's certificate can be had."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    return any(each.access_method == AuthorityInformationAccessOID.CA_ISSUERS for each in access)
