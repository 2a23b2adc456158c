"""Where a new authority's key pair is made and first written.

Both files appear at once: they are written to a hidden folder next to the final one, synced, and the folder is
renamed. A crash leaves the authority absent or whole, never a key without its certificate.
"""

import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.domain.clock import Clock
from appliance.files import locked, sync, write_whole
from certs.generations import CERTIFICATE, KEY, Generations

type SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

BACKDATE = timedelta(days=7)
"""Longer than any leaf is backdated, so that no leaf starts before its CA; and a client's clock may be slow."""


@dataclass(frozen=True, slots=True)
class Seed:
    """What a new authority is made of. ``key``: ec-p256, ec-p384, rsa-2048 or rsa-4096."""

    common_name: str
    key: str
    validity_days: int


def ensure(home: Path, seed: Seed, clock: Clock) -> None:
    """Make the authority in ``home`` unless it is there. Raises OSError."""
    home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home.is_dir():
        return
    with locked(home.parent / ".lock"):
        # a change-over that was cut short has left the name without a CA, but not without keys
        Generations(home.parent, home.name).settle()
        if not home.is_dir():
            _create(home, seed, clock)


def _create(home: Path, seed: Seed, clock: Clock) -> None:
    draft = home.with_name(f".{home.name}.new")
    # only the holder of the lock is here: what is left over comes from a process that was killed
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    key = generate_key(seed.key)
    certificate = self_signed(seed, key, clock)
    write_whole(draft / KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_whole(draft / CERTIFICATE, certificate.public_bytes(Encoding.PEM))
    draft.rename(home)
    sync(home.parent)


def ensure_certificate(home: Path, seed: Seed, key: SigningKey, clock: Clock) -> None:
    """Make the certificate alone in ``home``, for a key that is kept elsewhere, unless it is there. Raises OSError."""
    home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(home.parent / ".lock"):
        if not (home / CERTIFICATE).exists():
            certificate = self_signed(seed, key, clock)
            home.mkdir(mode=0o700, exist_ok=True)
            write_whole(home / CERTIFICATE, certificate.public_bytes(Encoding.PEM))


def generate_key(kind: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    """A new private key. Raises ValueError for a kind that is not known."""
    match kind:
        case "ec-p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ec-p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "rsa-2048" | "rsa-4096":
            return rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))
    raise ValueError(f"not a kind of key: {kind!r}")


def signature_hash(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> SHA256 | SHA384:
    """SHA-256, or SHA-384 for curves above P-256 (RFC 5480 section 4 pairs them by strength)."""
    return SHA384() if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256 else SHA256()


def self_signed(seed: Seed, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, clock: Clock) -> x509.Certificate:
    """A root that may sign leaves and nothing below: pathLenConstraint 0 (RFC 5280 section 4.2.1.9)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, seed.common_name)])
    start = datetime.fromtimestamp(int(clock.now()), UTC) - BACKDATE
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(127) | 1 << 127 - 1)
        .not_valid_before(start)
        .not_valid_after(start + BACKDATE + timedelta(days=seed.validity_days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_ca_usage(), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, signature_hash(key))
    )


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
