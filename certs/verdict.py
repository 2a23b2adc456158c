"""Why a server's certificate was refused: from OpenSSL's verification codes to reason words."""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from appliance.domain.reason import Reason

# OpenSSL's X509_V_ERR_* numbers (x509_vfy.h); the binding does not name all of them
NOT_YET_VALID = 9
EXPIRED = 10
SELF_SIGNED_LEAF = 18
NO_ISSUER = frozenset({2, 20, 21})
"""No certificate of the issuer: neither sent nor trusted."""
WRONG_PURPOSE = frozenset({26, 37, 79, 80, 81, 82})
"""Codes that OpenSSL gives for several faults at once; the certificate itself says which it is."""

_REASONS = {
    2: Reason.UPSTREAM_CERT_UNTRUSTED,
    4: Reason.UPSTREAM_CERT_BAD_SIGNATURE,
    6: Reason.UPSTREAM_CERT_MALFORMED,  # the issuer's public key
    7: Reason.UPSTREAM_CERT_BAD_SIGNATURE,
    NOT_YET_VALID: Reason.UPSTREAM_CERT_NOT_YET_VALID,
    EXPIRED: Reason.UPSTREAM_CERT_EXPIRED,
    13: Reason.UPSTREAM_CERT_MALFORMED,  # notBefore
    14: Reason.UPSTREAM_CERT_MALFORMED,  # notAfter
    SELF_SIGNED_LEAF: Reason.UPSTREAM_CERT_SELF_SIGNED,
    19: Reason.UPSTREAM_CERT_UNTRUSTED,  # a self-signed certificate at the end of the chain
    22: Reason.UPSTREAM_CERT_CHAIN_TOO_LONG,
    23: Reason.UPSTREAM_CERT_REVOKED,
    24: Reason.UPSTREAM_CERT_MALFORMED,  # the issuer has no public key
    25: Reason.UPSTREAM_CERT_PATH_LENGTH,
    27: Reason.UPSTREAM_CERT_UNTRUSTED,
    28: Reason.UPSTREAM_CERT_UNTRUSTED,
    32: Reason.UPSTREAM_CERT_ISSUER_NOT_CA,  # without keyCertSign
    34: Reason.UPSTREAM_CERT_CRITICAL_EXTENSION,
    39: Reason.UPSTREAM_CERT_KEY_USAGE,
    41: Reason.UPSTREAM_CERT_MALFORMED,  # an extension
    42: Reason.UPSTREAM_CERT_MALFORMED,  # a policy extension
    47: Reason.UPSTREAM_CERT_NAME_CONSTRAINTS,
    48: Reason.UPSTREAM_CERT_NAME_CONSTRAINTS,
    49: Reason.UPSTREAM_CERT_NAME_CONSTRAINTS,
    51: Reason.UPSTREAM_CERT_NAME_CONSTRAINTS,
    52: Reason.UPSTREAM_CERT_NAME_CONSTRAINTS,
    53: Reason.UPSTREAM_CERT_NAME_CONSTRAINTS,
    62: Reason.UPSTREAM_CERT_WRONG_HOST,
    63: Reason.UPSTREAM_CERT_WRONG_HOST,
    64: Reason.UPSTREAM_CERT_WRONG_HOST,
    66: Reason.UPSTREAM_CERT_WEAK_KEY,  # the leaf's
    67: Reason.UPSTREAM_CERT_WEAK_KEY,  # a CA's
    68: Reason.UPSTREAM_CERT_WEAK_SIGNATURE,
    76: Reason.UPSTREAM_CERT_BAD_SIGNATURE,  # an algorithm nobody knows
    77: Reason.UPSTREAM_CERT_BAD_SIGNATURE,  # not of the kind that the issuer's key makes
    78: Reason.UPSTREAM_CERT_BAD_SIGNATURE,  # the two algorithm identifiers differ
    **dict.fromkeys(range(83, 93), Reason.UPSTREAM_CERT_PROFILE),  # names, key identifiers, criticality: asked in strict mode
    93: Reason.UPSTREAM_CERT_MALFORMED,  # extensions before version 3
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification said. ``depth`` counts from the leaf, ``code`` is OpenSSL's (0: one of our own rules).

    ``certificate`` is the one that was refused, as far as it could be read.
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
    if code in NO_ISSUER:
        reason = _missing_issuer(depth, certificate)
    elif code in WRONG_PURPOSE:
        reason = _unfit(depth, certificate)
    else:
        reason = _REASONS.get(code, Reason.UPSTREAM_CERT_INVALID)
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


def _unfit(depth: int, certificate: x509.Certificate | None) -> Reason:
    """Which of the faults that OpenSSL calls an unsuitable purpose or an invalid CA it is."""
    if certificate is None:
        return Reason.UPSTREAM_CERT_INVALID
    if depth and not may_sign_certificates(certificate):
        return Reason.UPSTREAM_CERT_ISSUER_NOT_CA
    return Reason.UPSTREAM_CERT_KEY_USAGE if is_for_servers(certificate) else Reason.UPSTREAM_CERT_WRONG_EKU


def may_sign_certificates(certificate: x509.Certificate) -> bool:
    """basicConstraints says CA, and keyUsage, if there is one, says keyCertSign (RFC 5280 section 6.1.4 (k), (n))."""
    try:
        extensions = certificate.extensions
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def is_for_servers(certificate: x509.Certificate) -> bool:
    """No extendedKeyUsage, or one with serverAuth; anyExtendedKeyUsage alone is not that (Baseline Requirements 7.1.2.7.10)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except (x509.DuplicateExtension, ValueError):
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usage
