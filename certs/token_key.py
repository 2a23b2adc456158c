"""A private key in a token, where the ``cryptography`` library expects one of its own.

So everything that a CA signs, leaves, CRLs and OCSP answers, is built in one way. Such a key can sign, and say which public
key it belongs to; nothing else.
"""

from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from certs.tokens import Tokens, TokenSite


def open_key(tokens: Tokens, site: TokenSite) -> "EcTokenKey | RsaTokenKey":
    """The key at ``site``. Raises AuthorityError."""
    public = tokens.public_key(site)
    return (
        EcTokenKey(tokens, site, public) if isinstance(public, ec.EllipticCurvePublicKey) else RsaTokenKey(tokens, site, public)
    )


class _Stays:
    """What a private key can do elsewhere, and this one cannot."""

    def private_numbers(self) -> Any:
        raise TypeError("the key does not leave its token")

    def private_bytes(self, *_: Any, **__: Any) -> bytes:
        raise TypeError("the key does not leave its token")

    def __reduce__(self) -> Any:
        raise TypeError("the key does not leave its token")


class EcTokenKey(_Stays, ec.EllipticCurvePrivateKey):
    """A private key on a curve, in a token."""

    def __init__(self, tokens: Tokens, site: TokenSite, public: ec.EllipticCurvePublicKey) -> None:
        self._tokens, self._site, self._public = tokens, site, public

    def __copy__(self) -> "EcTokenKey":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "EcTokenKey":
        return self

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        raise TypeError("a CA's key signs and nothing else")

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """DER, as the library's own keys sign. Raises InternalError."""
        algorithm = signature_algorithm.algorithm
        if not isinstance(algorithm, hashes.HashAlgorithm):
            raise TypeError("not a hash algorithm")
        digest = hashes.Hash(algorithm)
        digest.update(bytes(data))
        raw = self._tokens.sign(self._site, digest.finalize(), "ECDSA")
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


_RSA = {"sha256": "SHA256_RSA_PKCS", "sha384": "SHA384_RSA_PKCS", "sha512": "SHA512_RSA_PKCS"}


class RsaTokenKey(_Stays, rsa.RSAPrivateKey):
    """An RSA private key in a token; it signs by PKCS #1 v1.5, as certificates of CAs are."""

    def __init__(self, tokens: Tokens, site: TokenSite, public: rsa.RSAPublicKey) -> None:
        self._tokens, self._site, self._public = tokens, site, public

    def __copy__(self) -> "RsaTokenKey":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "RsaTokenKey":
        return self

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def decrypt(self, ciphertext: bytes, padding: Any) -> bytes:
        raise TypeError("a CA's key signs and nothing else")

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        """Raises InternalError."""
        if padding.name != "EMSA-PKCS1-v1_5" or getattr(algorithm, "name", "") not in _RSA:
            raise TypeError("only PKCS #1 v1.5 with SHA-2")
        return self._tokens.sign(self._site, bytes(data), _RSA[algorithm.name])
