"""The leaf that a client sees in place of the server's certificate. Pure: key, clock and serial are handed in."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.domain.clock import Clock
from appliance.domain.errors import InternalError
from appliance.domain.reason import Reason
from appliance.domain.target import normalise_host, parse_ip
from certs.authority import Authority
from certs.nursery import signature_hash

type LeafKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

HOUR = 3600
MIN_BACKDATE = 1 * HOUR
MAX_BACKDATE = 72 * HOUR
MAX_COMMON_NAME = 64
"""ub-common-name (RFC 5280 appendix A.1)."""
DEFAULT_DAYS = 47
"""The longest life the CA/Browser Forum allows from March 2029; every current client accepts it."""

_USAGE = x509.KeyUsage(
    # our cipher suites sign and never encrypt with this key, so keyEncipherment would only permit what is not used
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class LeafProfile:
    """What a leaf says, and the key of the cache: equal profiles share one leaf.

    ``names`` are what a client may reach: DNS names in their normal form (a wildcard as its whole first label),
    or IP addresses as text. ``not_after`` (seconds since the epoch) is a bound besides the CA's own.
    """

    names: tuple[str, ...]
    common_name: str = ""
    ecdsa: bool = True
    not_after: float | None = None

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("a leaf needs a name")

    @classmethod
    def for_host(cls, host: str, *, ecdsa: bool = True) -> "LeafProfile":
        """A leaf for one host or address, when no server certificate is known. Raises ValueError for no host name."""
        name = normalise_host(host)
        return cls((name,), name, ecdsa)


def sign_leaf(
    authority: Authority, profile: LeafProfile, leaf_key: LeafKey, clock: Clock, serial: int, days: int = DEFAULT_DAYS
) -> x509.Certificate:
    """Sign one leaf, valid for at most ``days`` and never longer than the CA or ``profile.not_after``.

    Raises:
        InternalError: the authority has expired, or the leaf would.
    """
    start, end = validity(authority, profile, clock, serial, days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(profile.common_name))
        .issuer_name(authority.certificate.subject)
        .public_key(leaf_key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
        # RFC 5280 section 4.2.1.6: critical when the subject is empty
        .add_extension(alternative_names(profile.names), critical=not has_common_name(profile.common_name))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), critical=False)
        .add_extension(authority_key_identifier(authority.certificate), critical=False)
    )
    return builder.sign(authority.key, signature_hash(authority.key))


def validity(authority: Authority, profile: LeafProfile, clock: Clock, serial: int, days: int) -> tuple[datetime, datetime]:
    """First and last second. Backdated 1 to 72 hours for clients whose clock is slow, by a different amount each."""
    now = int(clock.now())
    life = days * 24 * HOUR
    reach = min(MAX_BACKDATE, life // 2) - MIN_BACKDATE
    spread = int.from_bytes(hashlib.sha256(serial.to_bytes(20)).digest()[:4]) % (reach + 1)
    start = max(now - MIN_BACKDATE - spread, int(authority.certificate.not_valid_before_utc.timestamp()))
    end = min(start + life, int(authority.certificate.not_valid_after_utc.timestamp()))
    if profile.not_after is not None:
        end = min(end, int(profile.not_after))
    if end <= now:
        raise InternalError(Reason.INTERNAL_ERROR, f"CA {authority.name}: a leaf for {profile.names[0]} would have expired")
    return datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)


def has_common_name(name: str) -> bool:
    """Whether the name fits a subject: the field holds 64 characters, and clients read the SAN anyway."""
    return 0 < len(name) <= MAX_COMMON_NAME


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if has_common_name(name) else [])


def alternative_names(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    """iPAddress for addresses, dNSName for the rest: clients look for an address in nothing else (RFC 9525 section 6.5)."""
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    address = parse_ip(name)
    return x509.IPAddress(address) if address is not None else x509.DNSName(name)


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The issuer's own SKI where it has one: an imported CA may have computed it in another way."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
