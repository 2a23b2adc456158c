"""A leaf with its key, as it goes from whoever signed it to whoever serves it."""

import struct
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from certs.leaf import LeafKey

_VERSION = 1
_HEAD = struct.Struct(">BdII")
"""Version, time of signing, length of the certificate, length of the key."""
MAX_CERTIFICATE = 64 * 1024
MAX_KEY = 4 * 1024
"""An RSA key of 2048 bits takes 1.2 KB, one on P-256 138 bytes."""


@dataclass(frozen=True, slots=True)
class Issued:
    """``made``: when it was signed, seconds since the epoch. ``fresh``: signed for this very call, not found somewhere."""

    certificate: x509.Certificate
    key: LeafKey = field(repr=False)
    made: float
    fresh: bool = True

    @property
    def not_before(self) -> float:
        return self.certificate.not_valid_before_utc.timestamp()

    @property
    def not_after(self) -> float:
        return self.certificate.not_valid_after_utc.timestamp()

    def until(self, ttl: float) -> float:
        """How long it may be handed out: ``ttl`` from its signing, and never in the second half of its life, for a leaf must
        not end under a client that was just given it."""
        return self.made + min(ttl, (self.not_after - self.made) / 2)

    def servable(self, now: float, ttl: float) -> bool:
        """Whether it may be handed out at ``now``. One that was made later than that is not: a clock was set back."""
        return max(self.not_before, self.made - _SKEW) <= now < self.until(ttl)

    def to_bytes(self) -> bytes:
        """The whole leaf, key included: only for a process of ours, or to be encrypted."""
        certificate = self.certificate.public_bytes(Encoding.DER)
        key = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return _HEAD.pack(_VERSION, self.made, len(certificate), len(key)) + certificate + key

    @classmethod
    def from_bytes(cls, data: bytes, *, fresh: bool = False) -> "Issued":
        """What ``to_bytes`` made. Raises ValueError for all else, also when key and certificate do not belong together."""
        made, certificate, key = _split(data)
        try:
            leaf, private = x509.load_der_x509_certificate(certificate), _private_key(key)
            belongs = private.public_key() == leaf.public_key()
        except (TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise ValueError(f"not a leaf: {type(error).__name__}") from error
        if not belongs:
            raise ValueError("the key is not the certificate's")
        return cls(leaf, private, made, fresh)


_SKEW = 300.0
"""Seconds by which the clocks of two nodes may differ."""


def _split(data: bytes) -> tuple[float, bytes, bytes]:
    if len(data) < _HEAD.size:
        raise ValueError("shorter than its head")
    version, made, first, second = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise ValueError(f"version {version}")
    if first > MAX_CERTIFICATE or second > MAX_KEY or len(data) != _HEAD.size + first + second:
        raise ValueError("wrong lengths")
    if not 0 <= made < 1 << 40:  # also what is no number
        raise ValueError("not a time")
    return made, data[_HEAD.size : _HEAD.size + first], data[_HEAD.size + first :]


def _private_key(data: bytes) -> LeafKey:
    # the numbers of an RSA key are not examined: it comes from ourselves, and that would take 20 ms
    key = load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("neither an EC nor an RSA key")
    return key
