"""Signing authorities: created once, loaded and checked at every start.

The key of an authority signs leaves and nothing else. It is never the key of a leaf: whoever takes a leaf's key
out of a worker's memory must not be able to sign with it.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import ConfigError, Problem
from certs import nursery
from certs.fingerprint import certificate_sha256, spki_sha256
from certs.generations import CERTIFICATE, KEY
from certs.strength import key_weakness, signature_weakness

type SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_ENCRYPTED = b"ENCRYPTED"
"""In the first line of a PKCS #8 key with a passphrase, in the header of an older one."""
MAX_FILE_BYTES = 1 << 20
"""A certificate or key file is a few KB; more is the wrong file, and is not read into memory."""


class Fault(Enum):
    """Why an authority cannot be used."""

    UNREADABLE = "unreadable"
    MALFORMED = "malformed"
    ENCRYPTED = "encrypted"
    EXPOSED = "exposed"
    INCOMPLETE = "incomplete"
    KEY_MISMATCH = "key_mismatch"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NOT_A_CA = "not_a_ca"
    NO_CERT_SIGN = "no_cert_sign"
    WEAK = "weak"
    BROKEN_CHAIN = "broken_chain"
    PATH_LENGTH = "path_length"
    NOT_FOR_SERVERS = "not_for_servers"
    NO_MODULE = "no_module"
    NO_TOKEN = "no_token"  # noqa: S105 - a word, not a secret
    WRONG_PIN = "wrong_pin"
    NO_KEY = "no_key"
    WRONG_PASSPHRASE = "wrong_passphrase"  # noqa: S105 - a word, not a secret


class AuthorityError(ConfigError):
    """An authority that must not sign. ``problem`` names the file, ``fault`` the cause."""

    def __init__(self, fault: Fault, file: Path, message: str) -> None:
        self.fault = fault
        self.problem = Problem(message, file=str(file))
        super().__init__([self.problem])


@dataclass(frozen=True, slots=True)
class PublicAuthority:
    """An authority as everybody may see it: no key."""

    name: str
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    """The certificates above ``certificate``, nearest first, as its file holds them."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, lower-case hex."""
        return certificate_sha256(self.certificate)

    @property
    def identities(self) -> frozenset[str]:
        """What upstream trust has to exclude: the certificate, and its key under any other certificate."""
        return frozenset({self.fingerprint, spki_sha256(self.certificate)})

    @property
    def sent_chain(self) -> tuple[x509.Certificate, ...]:
        """What a server sends after the leaf: every intermediate, no root (RFC 8446 section 4.4.2)."""
        return tuple(each for each in (self.certificate, *self.chain) if each.subject != each.issuer)


@dataclass(frozen=True, slots=True)
class Authority(PublicAuthority):
    """An authority that can sign. ``key`` is left out of the representation: it must not reach a log."""

    key: SigningKey = field(repr=False)

    @property
    def public(self) -> PublicAuthority:
        return PublicAuthority(self.name, self.certificate, self.chain)


def load_or_create(
    directory: Path,
    name: str,
    common_name: str,
    key: str = "ec-p256",
    validity_days: int = 1825,
    certificate: Path | None = None,
    private_key: Path | None = None,
    clock: Clock | None = None,
) -> Authority:
    """The authority ``name``: from the two files when they are given, else from ``directory/name``, made when absent.

    Safe when several processes start at once: one creates, the others load what it made.

    Raises:
        AuthorityError: the files cannot be read, do not belong together, or must not sign.
    """
    clock = clock or SystemClock()
    if certificate is not None or private_key is not None:
        return _load_given(name, certificate, private_key, clock)
    home = directory / name
    try:
        nursery.ensure(home, nursery.Seed(common_name, key, validity_days), clock)
    except OSError as error:
        raise AuthorityError(Fault.UNREADABLE, home, f"cannot create the CA: {error.strerror}") from error
    return load(name, home / CERTIFICATE, home / KEY, clock)


def _load_given(name: str, certificate: Path | None, private_key: Path | None, clock: Clock) -> Authority:
    match certificate, private_key:
        case Path() as first, Path() as second:
            return load(name, first, second, clock)
        case Path() as first, _:
            raise AuthorityError(Fault.INCOMPLETE, first, f"CA {name}: certificate is given without private_key")
        case _, other:
            raise AuthorityError(Fault.INCOMPLETE, other or Path(), f"CA {name}: private_key is given without certificate")


def load(name: str, certificate: Path, private_key: Path, clock: Clock, passphrase: bytes | None = None) -> Authority:
    """Load and check an authority. ``passphrase`` opens the key when it is protected by one. Raises AuthorityError."""
    public = load_public(name, certificate, clock)
    key = _read_key(private_key, passphrase)
    if weakness := key_weakness(key):
        raise AuthorityError(Fault.WEAK, private_key, f"the private key is too weak: {weakness}")
    if key.public_key() != public.certificate.public_key():
        raise AuthorityError(
            Fault.KEY_MISMATCH, private_key, f"the private key does not belong to the certificate in {certificate}"
        )
    return Authority(public.name, public.certificate, public.chain, key)


def load_public(name: str, certificate: Path, clock: Clock) -> PublicAuthority:
    """The authority's certificates alone, for pages and exports: a process without the key. Raises AuthorityError."""
    first, *chain = read_certificates(certificate)
    now = datetime.fromtimestamp(clock.now(), UTC)
    for each in (first, *chain):
        _check_certificate(each, certificate, now)
    for lower, upper in zip((first, *chain), chain, strict=False):
        _check_link(lower, upper, certificate)
    for below, upper in enumerate(chain, 1):
        _check_path_length(upper, below, certificate)
    return PublicAuthority(name, first, tuple(chain))


def _check_certificate(certificate: x509.Certificate, file: Path, now: datetime) -> None:
    subject = certificate.subject.rfc4514_string()
    if now > certificate.not_valid_after_utc:
        raise AuthorityError(Fault.EXPIRED, file, f"{subject}: expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < certificate.not_valid_before_utc:
        raise AuthorityError(
            Fault.NOT_YET_VALID, file, f"{subject}: not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )
    _check_usage(certificate, file, subject)
    weakness = key_weakness(certificate.public_key())
    # nobody relies on the signature that a root makes over itself
    if not weakness and certificate.subject != certificate.issuer:
        weakness = signature_weakness(certificate)
    if weakness:
        raise AuthorityError(Fault.WEAK, file, f"{subject}: too weak: {weakness}")


def _check_usage(certificate: x509.Certificate, file: Path, subject: str) -> None:
    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension) as error:
        raise AuthorityError(Fault.MALFORMED, file, f"{subject}: malformed extensions: {error}") from error
    basic = next((each.value for each in extensions if isinstance(each.value, x509.BasicConstraints)), None)
    if basic is None or not basic.ca:
        raise AuthorityError(Fault.NOT_A_CA, file, f"{subject}: not a CA certificate (basicConstraints CA is not true)")
    usage = next((each.value for each in extensions if isinstance(each.value, x509.KeyUsage)), None)
    if usage is not None and not usage.key_cert_sign:
        raise AuthorityError(Fault.NO_CERT_SIGN, file, f"{subject}: keyUsage does not allow signing certificates (keyCertSign)")

    purposes = next((each.value for each in extensions if isinstance(each.value, x509.ExtendedKeyUsage)), None)
    if purposes is not None and not _SERVER_PURPOSES & set(purposes):
        raise AuthorityError(
            Fault.NOT_FOR_SERVERS, file, f"{subject}: extendedKeyUsage does not allow certificates of servers (serverAuth)"
        )


_SERVER_PURPOSES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


def _check_path_length(upper: x509.Certificate, below: int, file: Path) -> None:
    """RFC 5280 section 4.2.1.9: ``below`` CAs may stand between this one and a leaf only if its pathLenConstraint says so."""
    limit = upper.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if limit is not None and limit < below:
        subject = upper.subject.rfc4514_string()
        raise AuthorityError(
            Fault.PATH_LENGTH, file, f"{subject}: allows {limit} CAs below it (pathLenConstraint), and there would be {below}"
        )


def _check_link(lower: x509.Certificate, upper: x509.Certificate, file: Path) -> None:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        names = f"{lower.subject.rfc4514_string()} is not signed by {upper.subject.rfc4514_string()}"
        raise AuthorityError(Fault.BROKEN_CHAIN, file, f"the certificates are not a chain, nearest first: {names}") from error


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise AuthorityError(Fault.UNREADABLE, file, f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise AuthorityError(Fault.MALFORMED, file, f"larger than {MAX_FILE_BYTES} bytes")
    return data


def read_certificates(file: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file as they stand there, unchecked. Raises AuthorityError."""
    try:
        return x509.load_pem_x509_certificates(_read(file))
    except ValueError as error:
        raise AuthorityError(Fault.MALFORMED, file, "holds no certificate in PEM form") from error


def _read_key(file: Path, passphrase: bytes | None) -> SigningKey:
    data = _read(file)
    mode = file.stat().st_mode & 0o777
    if mode & 0o007:
        raise AuthorityError(
            Fault.EXPOSED, file, f"every user of this machine can read the private key (mode {mode:04o}): chmod 600"
        )
    try:
        key = load_pem_private_key(data, passphrase if _ENCRYPTED in data else None)
    except TypeError as error:
        raise AuthorityError(Fault.ENCRYPTED, file, "the private key is protected by a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase is not None and _ENCRYPTED in data:
            raise AuthorityError(Fault.WRONG_PASSPHRASE, file, "the passphrase does not open the private key") from error
        raise AuthorityError(Fault.MALFORMED, file, "holds no private key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise AuthorityError(Fault.WEAK, file, "the private key is neither EC nor RSA: clients would not accept its signatures")
    return key
