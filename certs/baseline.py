"""What the public web's CAs may not issue to a server (CA/Browser Forum Baseline Requirements, section 7.1).

Browsers do not ask for it, because they need not: since 2025-03-15 a CA has to lint each certificate before it signs
(section 4.3.1.2), and none lives longer than 398 days. A valid certificate that breaks one of these rules below a public root
did not come out of that root's issuance as it should. Of CA certificates nothing is asked here: they live for decades, and
old ones break today's rules.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from appliance.domain.reason import Reason
from certs import rules
from certs.verdict import Verdict

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
"""RFC 1034 section 3.5 as changed by RFC 1123 section 2.1, with one star for the first label."""


def check(raw: crypto.X509) -> Iterator[Verdict]:
    """Why a public CA may not have issued this certificate to a server."""
    leaf, _ = rules.parse(raw, 0)
    if leaf is not None:
        yield from (
            Verdict(Reason.UPSTREAM_CERT_PROFILE, f"against the Baseline Requirements: {broken}"[:512], certificate=leaf)
            for broken in broken_by(leaf)
        )


def broken_by(leaf: x509.Certificate) -> Iterator[str]:
    """The rules, in words, that a certificate breaks which can be read."""
    identifier = _find(leaf, x509.AuthorityKeyIdentifier)
    if identifier is None or identifier.value.key_identifier is None:
        yield "no key identifier of its issuer (7.1.2.7.6)"
    names = _find(leaf, x509.SubjectAlternativeName)
    if names is None:
        return  # it is for no host, which has a fault of its own
    if names.critical is any(True for _ in leaf.subject):
        yield "subjectAltName is critical just when the subject is empty (7.1.2.7.12)"
    hosts = names.value.get_values_for_type(x509.DNSName)
    if (odd := next((name for name in hosts if not _NAME.fullmatch(name)), None)) is not None:
        yield f"{odd!r} is no host name (7.1.2.7.12)"
    allowed = {*hosts, *map(_text, names.value.get_values_for_type(x509.IPAddress))}
    if any(name.value not in allowed for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)):
        # nobody should read it, and those who do must not see another name
        yield "the common name is not one of the subjectAltName, letter for letter (7.1.4.3)"


def _text(address: object) -> str:
    """As RFC 5952 section 4 writes an address."""
    return str(address) if isinstance(address, IPv4Address | IPv6Address) else ""


def _find[T: x509.ExtensionType](leaf: x509.Certificate, kind: type[T]) -> x509.Extension[T] | None:
    try:
        return leaf.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
