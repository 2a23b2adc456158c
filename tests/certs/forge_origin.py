"""Servers' certificates, good and bad: a root that is trusted, and everything that may go wrong below it."""

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.certs import asn1

type Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of all forged certificates; tests hand the same to what they test."""

ECDSA_SHA1 = bytes.fromhex("06072a8648ce3d0401")
RSA_SHA1 = bytes.fromhex("06092a864886f70d0101050500")
RSA_MD5 = bytes.fromhex("06092a864886f70d0101040500")


@functools.cache
def ec_key(index: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def curve_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(getattr(ec, name)())


@functools.cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def key_usage(**allowed: bool) -> x509.KeyUsage:
    words = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    words += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{word: allowed.get(word, False) for word in words})


def subject(common_name: str | None) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


@dataclass(frozen=True)
class Pair:
    """A certificate in DER, its key, and its name as an issuer. ``shift`` moves its times, and those of all below it."""

    der: bytes
    key: Key
    name: x509.Name
    shift: timedelta = timedelta()

    @property
    def certificate(self) -> x509.Certificate:
        with warnings.catch_warnings():
            # some are meant to be malformed
            warnings.simplefilter("ignore")
            return x509.load_der_x509_certificate(self.der)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class Template:
    """What a certificate is made of. ``ca`` None: no basicConstraints at all."""

    common_name: str | None = "origin.test"
    names: Sequence[x509.GeneralName] | None = field(default=(x509.DNSName("origin.test"),))
    key: Key = field(default_factory=ec_key)
    ca: bool | None = False
    path_length: int | None = None
    usage: x509.KeyUsage | None = field(default_factory=lambda: key_usage(digital_signature=True))
    extended: Sequence[ObjectIdentifier] | None = (ExtendedKeyUsageOID.SERVER_AUTH,)
    start: datetime = NOW - timedelta(days=10)
    end: datetime = NOW + timedelta(days=80)
    serial: int = 0x1234567890ABCDEF
    extra: Sequence[tuple[x509.ExtensionType, bool]] = ()
    issuer_key: Key | None = None
    """The key that the authority key identifier names, when it is not the one that signs."""
    identifiers: bool = True
    """Subject and authority key identifier are present."""

    def but(self, **changes: object) -> "Template":
        return replace(self, **changes)  # type: ignore[arg-type]


LEAF = Template()
CA = Template(
    common_name="Intermediate",
    names=None,
    ca=True,
    usage=key_usage(key_cert_sign=True, crl_sign=True),
    extended=None,
    start=NOW - timedelta(days=100),
    end=NOW + timedelta(days=1000),
    serial=0x99,
)
ISSUER_ADDRESS = x509.AuthorityInformationAccess(
    [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.test/i.cer"))]
)


def issue(template: Template, issuer: Pair | None, hash_: type[HashAlgorithm] = SHA256, shift: timedelta = timedelta()) -> Pair:
    """A certificate after ``template``, signed by ``issuer`` (None: by itself, and then ``shift`` moves its times)."""
    name = subject(template.common_name)
    shift = issuer.shift if issuer else shift
    signer = issuer.key if issuer else template.key
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer.name if issuer else name)
    builder = builder.public_key(template.key.public_key()).serial_number(template.serial)
    builder = builder.not_valid_before(template.start + shift).not_valid_after(template.end + shift)
    for extension, critical in _extensions(template, signer):
        builder = builder.add_extension(extension, critical)
    return Pair(builder.sign(signer, hash_()).public_bytes(Encoding.DER), template.key, name, shift)


def _extensions(template: Template, signer: Key) -> list[tuple[x509.ExtensionType, bool]]:
    wanted: list[tuple[x509.ExtensionType | None, bool]] = [
        (x509.SubjectAlternativeName(template.names) if template.names is not None else None, not template.common_name),
        (x509.BasicConstraints(template.ca, template.path_length) if template.ca is not None else None, True),
        (template.usage, True),
        (x509.ExtendedKeyUsage(template.extended) if template.extended is not None else None, False),
        *template.extra,
    ]
    if template.identifiers:
        wanted.append((x509.SubjectKeyIdentifier.from_public_key(template.key.public_key()), False))
        named = (template.issuer_key or signer).public_key()
        wanted.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(named), False))
    return [(extension, critical) for extension, critical in wanted if extension is not None]


def signer(key: Key, hash_: HashAlgorithm):
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda data: key.sign(data, padding.PKCS1v15(), hash_)
    return lambda data: key.sign(data, ec.ECDSA(hash_))


def weakly_signed(pair: Pair, issuer: Pair, algorithm: str) -> Pair:
    """The same certificate, signed with SHA-1 or MD5."""
    identifier, hash_ = {
        "ecdsa-sha1": (ECDSA_SHA1, SHA1()),
        "rsa-sha1": (RSA_SHA1, SHA1()),
        "rsa-md5": (RSA_MD5, MD5()),
    }[algorithm]
    return replace(pair, der=asn1.set_algorithm(pair.der, identifier, signer(issuer.key, hash_)))


def altered(pair: Pair, issuer: Pair, change) -> Pair:
    """The same certificate with the fields of its TBSCertificate changed, signed again."""
    return replace(pair, der=asn1.resign(pair.der, change, signer(issuer.key, SHA256())))


def as_version_1(pair: Pair, issuer: Pair, *, keep_extensions: bool = False) -> Pair:
    def change(fields: list[tuple[int, bytes]]) -> None:
        fields[:] = [each for each in fields if each[0] != asn1.VERSION and (keep_extensions or each[0] != asn1.EXTENSIONS)]

    return altered(pair, issuer, change)


def with_serial(pair: Pair, issuer: Pair, content: bytes) -> Pair:
    def change(fields: list[tuple[int, bytes]]) -> None:
        fields[1] = (asn1.INTEGER, content)

    return altered(pair, issuer, change)


def with_extension_twice(pair: Pair, issuer: Pair) -> Pair:
    """The first extension (the SAN) a second time."""

    def change(fields: list[tuple[int, bytes]]) -> None:
        (_, extensions) = asn1.parts(fields[-1][1])[0]
        first = asn1.encode(*asn1.parts(extensions)[0])
        fields[-1] = (asn1.EXTENSIONS, asn1.encode(asn1.SEQUENCE, extensions + first))

    return altered(pair, issuer, change)


def with_signature_flipped(pair: Pair) -> Pair:
    return replace(pair, der=pair.der[:-1] + bytes([pair.der[-1] ^ 1]))


@dataclass(frozen=True)
class World:
    """A trusted root, an intermediate, and a root that nobody trusts."""

    root: Pair
    intermediate: Pair
    stranger: Pair


@functools.cache
def world(shift: timedelta = timedelta()) -> World:
    """``shift``: how far all times are moved from NOW, for servers that are met at the system's time."""
    root = issue(CA.but(common_name="Trusted Root", key=ec_key(1)), None, shift=shift)
    intermediate = issue(CA.but(key=ec_key(2)), root)
    return World(root, intermediate, issue(CA.but(common_name="Stranger Root", key=ec_key(3)), None, shift=shift))
