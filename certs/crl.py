"""The CRL of a CA (RFC 5280 section 5): complete, signed by the CA itself. Pure: clock and list are handed in."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.domain.clock import Clock
from certs.authority import Authority, PublicAuthority
from certs.leaf import authority_key_identifier
from certs.nursery import signature_hash
from certs.revoked import REASONS, Revoked

LIFE = timedelta(days=7)
"""How long clients may rely on one. It is signed anew every day, so that one survives six days without a signer."""
BACKDATE = timedelta(hours=1)
"""For clients whose clock is slow."""


def may_sign(authority: PublicAuthority) -> bool:
    """Whether clients would accept a CRL of this CA: keyUsage, where there is one, has to say so (section 4.2.1.3)."""
    try:
        return authority.certificate.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def sign_crl(authority: Authority, entries: Iterable[Revoked], clock: Clock, number: int) -> bytes:
    """In DER. ``number`` has to be higher than that of the CRL before (section 5.2.3)."""
    now = datetime.fromtimestamp(int(clock.now()), UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - BACKDATE)
        .next_update(min(now + LIFE, authority.certificate.not_valid_after_utc))
        .add_extension(authority_key_identifier(authority.certificate), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(_revoked(entry))
    return builder.sign(authority.key, signature_hash(authority.key)).public_bytes(Encoding.DER)


def _revoked(entry: Revoked) -> x509.RevokedCertificate:
    when = datetime.fromtimestamp(entry.at, UTC)
    builder = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(when)
    if entry.reason != "unspecified":
        # section 5.3.1: no reason at all rather than that one
        builder = builder.add_extension(x509.CRLReason(REASONS[entry.reason]), critical=False)
    return builder.build()


def number_after(previous: bytes | None, clock: Clock) -> int:
    """The number of the next CRL: the time, unless the clock was set back since the last one."""
    now = int(clock.now())
    if previous is None:
        return now
    crl = x509.load_der_x509_crl(previous)
    return max(now, crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1)


def due(crl: bytes | None, clock: Clock, every: timedelta = timedelta(days=1)) -> bool:
    """Whether a new one has to be signed: there is none that can be read, or it is a day old, or from the future."""
    if crl is None:
        return True
    try:
        signed = x509.load_der_x509_crl(crl).last_update_utc + BACKDATE
    except ValueError:
        return True
    now = datetime.fromtimestamp(clock.now(), UTC)
    return not signed <= now < signed + every
