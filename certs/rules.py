"""Rules for a server's certificates that OpenSSL's verification leaves out."""

from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from appliance.domain.reason import Reason
from certs.floor import TlsFloor
from certs.strength import key_weakness, signature_weakness
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


def check(raw: crypto.X509, depth: int, host: str) -> Iterator[Verdict]:
    """The rules that this certificate, which OpenSSL accepted and which is no anchor, breaks."""
    certificate, malformed = parse(raw, depth)
    if certificate is None:
        yield Verdict(Reason.UPSTREAM_CERT_MALFORMED, malformed, depth=depth)
    elif certificate.version is not x509.Version.v3:
        # only version 3 has extensions (RFC 5280 section 4.1.2.1): others cannot say what they are for
        reason = Reason.UPSTREAM_CERT_ISSUER_NOT_CA if depth else Reason.UPSTREAM_CERT_MALFORMED
        yield Verdict(reason, "not an X.509 version 3 certificate", depth=depth, certificate=certificate)
    elif depth == 0:
        yield from _check_leaf(certificate)
    else:
        yield from _check_issuer(certificate, depth, host)


def check_strength(raw: crypto.X509, depth: int, floor: TlsFloor, *, anchor: bool) -> Iterator[Verdict]:
    """Keys and signatures below ``floor``. An anchor's signature says nothing: it is trusted without one."""
    certificate, _ = parse(raw, depth)
    if certificate is None:
        return
    if weak := key_weakness(certificate.public_key(), floor.min_rsa_bits, floor.min_ec_bits):
        yield Verdict(Reason.UPSTREAM_CERT_WEAK_KEY, weak, depth=depth, certificate=certificate)
    if not anchor and not floor.sha1 and (weak := signature_weakness(certificate)):
        yield Verdict(Reason.UPSTREAM_CERT_WEAK_SIGNATURE, weak, depth=depth, certificate=certificate)


def _check_leaf(leaf: x509.Certificate) -> Iterator[Verdict]:
    for extension in leaf.extensions:
        if broken := _check_value(extension.value):
            yield Verdict(*broken, certificate=leaf)


def _check_value(value: x509.ExtensionType) -> tuple[Reason, str] | None:
    match value:
        case x509.BasicConstraints(ca=True):
            return Reason.UPSTREAM_CERT_KEY_USAGE, "a CA certificate is used as a server's"
        case x509.NameConstraints():
            return Reason.UPSTREAM_CERT_KEY_USAGE, "name constraints in a server's certificate"
        case x509.KeyUsage(key_cert_sign=True):
            return Reason.UPSTREAM_CERT_KEY_USAGE, "keyUsage allows keyCertSign in a certificate that is not a CA's"
        # every suite we offer has the server sign (RFC 8446 section 4.4.2.2)
        case x509.KeyUsage(digital_signature=False):
            return Reason.UPSTREAM_CERT_KEY_USAGE, "keyUsage does not allow digitalSignature"
        case x509.ExtendedKeyUsage() if ExtendedKeyUsageOID.SERVER_AUTH not in value:
            return Reason.UPSTREAM_CERT_WRONG_EKU, "extendedKeyUsage does not allow serverAuth"
        # CVE-2009-2408: what is read up to the NUL differs from what was certified
        case x509.SubjectAlternativeName() if any("\0" in name for name in value.get_values_for_type(x509.DNSName)):
            return Reason.UPSTREAM_CERT_MALFORMED, "a name holds a NUL"
    return None


def _check_issuer(issuer: x509.Certificate, depth: int, host: str) -> Iterator[Verdict]:
    """The name asked for against excluded subtrees: a wildcard may cover what its issuer must not certify (CVE-2025-61727)."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return
    except (ValueError, x509.DuplicateExtension) as error:
        yield Verdict(Reason.UPSTREAM_CERT_MALFORMED, f"malformed: {error}", depth=depth, certificate=issuer)
        return
    excluded = [name.value.lower() for name in constraints.excluded_subtrees or () if isinstance(name, x509.DNSName)]
    if any(_is_within(host, subtree) for subtree in excluded):
        detail = f"{host} is in a subtree that its issuer must not certify"
        yield Verdict(Reason.UPSTREAM_CERT_NAME_CONSTRAINTS, detail, depth=depth, certificate=issuer)


def _is_within(host: str, subtree: str) -> bool:
    """RFC 5280 section 4.2.1.10: adding labels to the left of the constraint satisfies it."""
    base = subtree.removeprefix(".")
    return not base or host == base or host.endswith("." + base)
