"""Rules for a server's certificates that OpenSSL's verification leaves out."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from appliance.domain.reason import Reason
from certs.verdict import Verdict

MAX_SERIAL_BITS = 160
"""20 octets, of which the first bit is the sign (RFC 5280 section 4.1.2.2)."""


def parse(raw: crypto.X509, depth: int) -> tuple[x509.Certificate | None, str]:
    """The certificate, for a leaf with all of its extensions readable, or None and why it is malformed."""
    # before parsing: a later version of the parser will raise for these, this one warns
    if not 0 < raw.get_serial_number() < 1 << MAX_SERIAL_BITS - 1:
        return None, "the serial number is not a positive number of at most 20 octets"
    try:
        certificate = raw.to_cryptography()
        # of an intermediate OpenSSL has read what matters; this parser is stricter than roots' practice deserves
        if depth == 0 and len(certificate.extensions) and certificate.version is not x509.Version.v3:
            return None, "extensions in a certificate that is not version 3"
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        return None, f"malformed: {error}"
    return certificate, ""


def check(raw: crypto.X509, depth: int, host: str) -> Verdict | None:
    """The first rule that this certificate, which OpenSSL accepted and which is no anchor, breaks; or None."""
    certificate, malformed = parse(raw, depth)
    if certificate is None:
        return _invalid(malformed, depth)
    if certificate.version is not x509.Version.v3:
        # only version 3 has extensions (RFC 5280 section 4.1.2.1): others cannot say what they are for
        return _invalid("not an X.509 version 3 certificate", depth, certificate)
    return _check_leaf(certificate) if depth == 0 else _check_issuer(certificate, depth, host)


def _invalid(detail: str, depth: int = 0, certificate: x509.Certificate | None = None) -> Verdict:
    return Verdict(Reason.UPSTREAM_CERT_INVALID, detail, depth=depth, certificate=certificate)


def _check_leaf(leaf: x509.Certificate) -> Verdict | None:
    broken = (_check_value(extension.value) for extension in leaf.extensions)
    return next((_invalid(detail, 0, leaf) for detail in broken if detail), None)


def _check_value(value: x509.ExtensionType) -> str:
    match value:
        case x509.BasicConstraints(ca=True):
            return "a CA certificate is used as a server's"
        case x509.NameConstraints():
            return "name constraints in a server's certificate"
        case x509.KeyUsage(key_cert_sign=True):
            return "keyUsage allows keyCertSign in a certificate that is not a CA's"
        # every suite we offer has the server sign (RFC 8446 section 4.4.2.2)
        case x509.KeyUsage(digital_signature=False):
            return "keyUsage does not allow digitalSignature"
        case x509.ExtendedKeyUsage() if ExtendedKeyUsageOID.SERVER_AUTH not in value:
            return "extendedKeyUsage does not allow serverAuth"
        # CVE-2009-2408: what is read up to the NUL differs from what was certified
        case x509.SubjectAlternativeName() if any("\0" in name for name in value.get_values_for_type(x509.DNSName)):
            return "a name holds a NUL"
    return ""


def _check_issuer(issuer: x509.Certificate, depth: int, host: str) -> Verdict | None:
    """The name asked for against excluded subtrees: a wildcard may cover what its issuer must not certify (CVE-2025-61727)."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension) as error:
        return _invalid(f"malformed: {error}", depth, issuer)
    excluded = [name.value.lower() for name in constraints.excluded_subtrees or () if isinstance(name, x509.DNSName)]
    if any(_is_within(host, subtree) for subtree in excluded):
        return _invalid(f"{host} is in a subtree that its issuer must not certify", depth, issuer)
    return None


def _is_within(host: str, subtree: str) -> bool:
    """RFC 5280 section 4.2.1.10: adding labels to the left of the constraint satisfies it."""
    base = subtree.removeprefix(".")
    return not base or host == base or host.endswith("." + base)
