"""A second verifier for the public web's profile (RFC 5280 as the CA/Browser Forum's Baseline Requirements narrow it).

OpenSSL finds the chain; this one, which shares no code with it, has to agree. It sees that one chain only, never
what the server sent: a search among 100 intermediates does not end within seconds.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from appliance.domain.reason import Reason
from appliance.domain.target import parse_ip
from certs.verdict import Verdict

MAX_SERIAL = 1 << 159
"""20 octets, of which the first bit is the sign (RFC 5280 section 4.1.2.2)."""


def check(chain: Sequence[x509.Certificate], host: str, now: float, max_depth: int) -> Verdict | None:
    """Why this chain (leaf first, anchor last) does not fit the profile, or None. ``now``: seconds since the epoch."""
    leaf, *above = chain
    if not above:
        # a leaf that is trusted by configuration has nothing above it to be checked
        return None
    address = parse_ip(host)
    try:
        builder = PolicyBuilder().store(Store([above[-1]])).time(datetime.fromtimestamp(now, UTC)).max_chain_depth(max_depth)
        subject = x509.IPAddress(address) if address is not None else x509.DNSName(host)
        builder.build_server_verifier(subject).verify(leaf, list(above[:-1]))
        broken = next(_broken(chain), "")
    except (VerificationError, ValueError, x509.DuplicateExtension) as error:
        broken = str(error)
    return Verdict(Reason.UPSTREAM_CERT_PROFILE, f"web profile: {broken}"[:512], certificate=leaf) if broken else None


def _broken(chain: Sequence[x509.Certificate]) -> Iterator[str]:
    """What the library's profile leaves to its caller."""
    for certificate in chain:
        yield from _of_key(certificate)
    for certificate in chain[:-1]:  # six roots of the public web have 0
        yield from _of_serial(certificate)
    yield from _of_leaf(chain[0])
    yield from _of_anchor(chain[-1])


def _of_key(certificate: x509.Certificate) -> Iterator[str]:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size % 8:
        yield f"an RSA key of {key.key_size} bits, which is no multiple of 8"


def _of_serial(certificate: x509.Certificate) -> Iterator[str]:
    if not 0 < certificate.serial_number < MAX_SERIAL:
        yield "a serial number that is not a positive number of at most 20 octets"


def _of_leaf(leaf: x509.Certificate) -> Iterator[str]:
    usage = _extension(leaf, x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage:
        yield "extendedKeyUsage allows anything"


def _of_anchor(anchor: x509.Certificate) -> Iterator[str]:
    if anchor.subject != anchor.issuer:
        return
    if _extension(anchor, x509.ExtendedKeyUsage) is not None:
        yield "a root with extendedKeyUsage"
    authority, own = _extension(anchor, x509.AuthorityKeyIdentifier), _extension(anchor, x509.SubjectKeyIdentifier)
    if authority is None:
        return
    if authority.authority_cert_issuer is not None or authority.authority_cert_serial_number is not None:
        yield "a root whose authorityKeyIdentifier names a certificate"
    if own is not None and authority.key_identifier != own.digest:
        yield "a root whose authorityKeyIdentifier is another's"


def _extension[T: x509.ExtensionType](certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
