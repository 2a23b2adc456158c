"""From the server's certificate to the leaf that stands in for it.

Copied, when the certificate was verified: the names, the common name where it is one of them, organisation and
place, the kind of key, and the end of life. Not copied: what only the real issuer can say (SCTs, policies, its CRL
and OCSP addresses), must-staple (RFC 7633: there is no staple for a forged leaf), organisational units (no CA checks
them), and clientAuth (nobody needs a forged leaf as a client).
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID, ObjectIdentifier

from appliance.domain.target import normalise_host
from certs.names import address, covers, dns_name
from certs.profile import MAX_NAMES, MAX_NAMES_BYTES, LeafProfile, usable_text

KEPT = 2048
"""Certificates, and hosts with their certificates, whose likeness is remembered: 100 names take 0.3 ms to normalise."""
MAX_READ = 2000
"""Names looked at: 64 KiB of junk names must not hold up everyone else."""

_OIDS = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
}


@dataclass(frozen=True, slots=True)
class Features:
    """What of a server's certificate a leaf can take over. ``names`` are in normal form and without doubles."""

    names: tuple[str, ...]
    common_name: str
    subject: tuple[tuple[str, str], ...]
    rsa: bool
    not_after: int


def mimic(
    host: str, origin: x509.Certificate, now: float, *, ecdsa: bool = True, rsa: bool = False, verified: bool = True
) -> LeafProfile:
    """The profile of a leaf for ``host`` after ``origin``.

    ``host`` is always covered: when the server's names do not, it is put first. ``ecdsa`` and ``rsa`` are the kinds
    of key that the client accepts; ECDSA is taken where both would do and the server's key is no RSA key. Of an
    origin that is not ``verified`` only key and end are followed: its names and its subject are mere claims, and a
    leaf with them would let that server answer for others. ``now`` (seconds since the epoch): an origin that has
    already expired gives no bound; whether it may be used at all is for the verification to say.

    Raises:
        ValueError: ``host`` is neither a host name nor an address.
    """
    profile = _likeness(normalise_host(host), origin, ecdsa, rsa, verified)
    return profile if profile.not_after is not None and profile.not_after > now else replace(profile, not_after=None)


@lru_cache(maxsize=KEPT)
def _likeness(host: str, origin: x509.Certificate, ecdsa: bool, rsa: bool, verified: bool) -> LeafProfile:
    found = features(origin)
    key_is_ecdsa = ecdsa and not (rsa and found.rsa)
    if not verified:
        return LeafProfile((host,), host, key_is_ecdsa, found.not_after)
    names = found.names if covers(frozenset(found.names), host) else (host, *found.names)
    names = _bounded(names, host)
    common_name = found.common_name if found.common_name in names else names[0]
    return LeafProfile(names, common_name, key_is_ecdsa, found.not_after, found.subject)


@lru_cache(maxsize=KEPT)
def features(certificate: x509.Certificate) -> Features:
    """What can be taken over. Never fails: what is malformed is left out."""
    return Features(
        names=alternative_names(certificate),
        common_name=dns_name(_first(certificate, NameOID.COMMON_NAME)),
        subject=tuple((word, text) for word, oid in _OIDS.items() if usable_text(word, text := _first(certificate, oid))),
        rsa=_has_rsa_key(certificate),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
    )


def alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names, then the addresses of a certificate in normal form; what is neither, or malformed, is left out."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    kept = list(value)[:MAX_READ]
    names = [dns_name(each.value) for each in kept if isinstance(each, x509.DNSName)]
    addresses = [address(str(each.value)) for each in kept if isinstance(each, x509.IPAddress)]
    return tuple(dict.fromkeys(name for name in (*names, *addresses) if name))


def _bounded(names: tuple[str, ...], host: str) -> tuple[str, ...]:
    """All names when they fit; else those nearest to the host, each group in the order of the certificate."""
    if len(names) <= MAX_NAMES and sum(map(len, names)) <= MAX_NAMES_BYTES:
        return names
    site = ".".join(host.split(".")[-2:])
    kept: list[str] = []
    room = MAX_NAMES_BYTES
    for name in sorted(names, key=lambda name: (not covers(frozenset({name}), host), not name.endswith(site))):
        room -= len(name)
        if room < 0 or len(kept) == MAX_NAMES:
            break
        kept.append(name)
    return tuple(kept)


def _first(certificate: x509.Certificate, oid: ObjectIdentifier) -> str:
    """The first value of an attribute, or an empty string when there is none, or none that can be read."""
    try:
        found = certificate.subject.get_attributes_for_oid(oid)
    except ValueError:
        return ""
    return found[0].value if found and isinstance(found[0].value, str) else ""


def _has_rsa_key(certificate: x509.Certificate) -> bool:
    try:
        return isinstance(certificate.public_key(), RSAPublicKey)
    except (ValueError, UnsupportedAlgorithm):
        return False
