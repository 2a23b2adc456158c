"""From the server's certificate to the leaf that stands in for it."""

from cryptography import x509
from cryptography.x509.oid import NameOID

from appliance.domain.target import normalise_host
from certs.leaf import LeafProfile

MAX_NAMES = 100
"""Shared certificates list up to thousands of names. A client needs the one it asked for and, to reuse the
connection (RFC 9113 section 9.1.1), a few more; each costs bytes in every handshake."""


def mimic(host: str, origin: x509.Certificate, now: float, *, ecdsa: bool = True) -> LeafProfile:
    """The profile of a leaf for ``host`` with the names and the end of life of ``origin``.

    ``host`` comes first even when the server's certificate covers it by a wildcard only, so each host has its own
    leaf. ``now`` (seconds since the epoch): an origin that has already expired gives no bound; whether it may be
    used at all is for the verification to say.
    """
    name = normalise_host(host)
    names = tuple(dict.fromkeys((name, *alternative_names(origin))))[:MAX_NAMES]
    end = origin.not_valid_after_utc.timestamp()
    return LeafProfile(names, _common_name(origin, names), ecdsa, end if end > now else None)


def alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and addresses of a certificate in normal form; what is neither, or malformed, is left out."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    names = [_dns_name(each.value) for each in value if isinstance(each, x509.DNSName)]
    addresses = [str(each.value) for each in value if isinstance(each, x509.IPAddress)]
    return tuple(name for name in (*names, *addresses) if name)


def _dns_name(text: str) -> str:
    """A host name, or a wildcard over one label of a domain of two labels or more; an empty string for all else."""
    wildcard, base = text.startswith("*."), text.removeprefix("*.")
    try:
        name = normalise_host(base)
    except ValueError:
        return ""
    # a wildcard over a top-level domain, or an address as a name, would claim more than any client accepts
    if (name[:1].isdigit() and name.replace(".", "").isdigit()) or ":" in name or (wildcard and "." not in name):
        return ""
    return f"*.{name}" if wildcard else name


def _common_name(origin: x509.Certificate, names: tuple[str, ...]) -> str:
    """The server's common name when it is one of the names we certify; it may hold anything otherwise."""
    for attribute in origin.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        if str(attribute.value).lower() in names:
            return str(attribute.value).lower()
    return names[0]
