"""The leaf that a client sees in place of the server's certificate. Pure: key, clock and serial are handed in."""

import hashlib
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from appliance.domain.clock import Clock
from appliance.domain.errors import InternalError
from appliance.domain.reason import Reason
from appliance.domain.target import parse_ip
from certs.authority import Authority
from certs.nursery import signature_hash
from certs.profile import MAX_COMMON_NAME, LeafProfile
from certs.publication import Publication

type LeafKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

HOUR = 3600
MIN_BACKDATE = 1 * HOUR
MAX_BACKDATE = 72 * HOUR
DEFAULT_DAYS = 47
"""The longest life the CA/Browser Forum allows from March 2029; every current client accepts it."""

_ATTRIBUTES = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
}

USAGE = x509.KeyUsage(
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


def sign_leaf(
    authority: Authority,
    profile: LeafProfile,
    leaf_key: LeafKey,
    clock: Clock,
    serial: int,
    days: int = DEFAULT_DAYS,
    publication: Publication | None = None,
) -> x509.Certificate:
    """Sign one leaf, valid for at most ``days`` and never longer than the CA or ``profile.not_after``.

    ``publication`` goes into the leaf; without it the leaf says nothing about where it could be revoked.

    Raises:
        InternalError: the authority has expired, or the leaf would.
    """
    start, end = validity(authority, profile, clock, serial, days)
    subject = subject_name(profile)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(leaf_key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
        # RFC 5280 section 4.2.1.6: critical when the subject is empty
        .add_extension(alternative_names(profile.names), critical=not len(subject))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), critical=False)
        .add_extension(authority_key_identifier(authority.certificate), critical=False)
    )
    for extension in addresses(publication):
        builder = builder.add_extension(extension, critical=False)
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


def subject_name(profile: LeafProfile) -> x509.Name:
    """Place and organisation, then the common name where it fits: clients read the SAN anyway."""
    parts = [x509.NameAttribute(_ATTRIBUTES[word], text) for word, text in profile.subject]
    if 0 < len(profile.common_name) <= MAX_COMMON_NAME:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, profile.common_name))
    return x509.Name(parts)


def addresses(publication: Publication | None) -> tuple[x509.ExtensionType, ...]:
    """The extensions that name the CRL, the OCSP responder and the issuer's certificate."""
    if publication is None:
        return ()
    access = {
        AuthorityInformationAccessOID.OCSP: publication.ocsp,
        AuthorityInformationAccessOID.CA_ISSUERS: publication.issuer,
    }
    described = [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in access.items()]
    places = x509.AuthorityInformationAccess(described)
    if not publication.crl:
        return (places,)
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(publication.crl)], None, None, None)
    return x509.CRLDistributionPoints([point]), places


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
