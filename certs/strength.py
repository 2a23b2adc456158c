"""Which keys and signatures are too weak to be used or trusted (RFC 9325 section 4.2, 112 bits of security)."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

MIN_RSA_BITS = 2048
MIN_EC_BITS = 224
WEAK_HASHES = frozenset({"md5", "sha1"})


def key_weakness(key: object, min_rsa_bits: int = MIN_RSA_BITS, min_ec_bits: int = MIN_EC_BITS) -> str:
    """Why this public or private key may not be used, or an empty string."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return f"RSA key of {key.key_size} bits" if key.key_size < min_rsa_bits else ""
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return f"EC key of {key.curve.key_size} bits" if key.curve.key_size < min_ec_bits else ""
    return f"key of type {type(key).__name__}"


def signature_weakness(certificate: x509.Certificate) -> str:
    """Why this certificate's signature may not be relied on, or an empty string."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return f"unknown signature algorithm {certificate.signature_algorithm_oid.dotted_string}"
    name = algorithm.name if algorithm else "none"
    return f"{name} signature" if name in WEAK_HASHES else ""
