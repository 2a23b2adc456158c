"""A certificate with its key, to be presented to servers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from appliance.domain.errors import ConfigError, Problem
from certs.fingerprint import certificate_sha256

type IdentityKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True, slots=True, eq=False)
class ClientIdentity:
    """``not_after``: seconds since the epoch. The key is left out of the representation: it must not reach a log."""

    name: str
    sha256: str
    not_after: float
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    key: IdentityKey = field(repr=False)

    def install(self, context: SSL.Context) -> None:
        """Let every connection of ``context`` present it, to a server that asks."""
        context.use_certificate(self.chain[0])
        context.use_privatekey(self.key)
        for each in self.chain[1:]:
            context.add_extra_chain_cert(each)


def load_identity(name: str, certificate: Path, private_key: Path) -> ClientIdentity:
    """Raises ConfigError: a file cannot be read, is not what it should be, or others can read the key."""
    chain = _read(certificate, x509.load_pem_x509_certificates)
    if private_key.stat().st_mode & 0o077:
        raise ConfigError([Problem("others can read the private key; chmod 600", file=str(private_key))])
    key = _read(private_key, lambda data: load_pem_private_key(data, None))
    kinds = (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
    if not isinstance(key, kinds) or key.public_key() != chain[0].public_key():
        raise ConfigError([Problem("does not belong to the certificate", file=str(private_key))])
    ends = min(each.not_valid_after_utc.timestamp() for each in chain)
    return ClientIdentity(name, certificate_sha256(chain[0]), ends, tuple(chain), key)


def _read[T](file: Path, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(file.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError([Problem(f"cannot be used: {error}", file=str(file))]) from error
