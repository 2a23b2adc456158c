"""The least that a server's TLS must offer: versions, suites, signatures, key sizes; and the context that asks for it."""

from dataclasses import dataclass
from typing import Final

from OpenSSL import SSL

from appliance.domain.tls_words import SUITES
from certs.strength import MIN_EC_BITS, MIN_RSA_BITS

SIGNATURES: Final = (
    "ecdsa_secp256r1_sha256",
    "ecdsa_secp384r1_sha384",
    "ecdsa_secp521r1_sha512",
    "ed25519",
    "rsa_pss_rsae_sha256",
    "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512",
    "rsa_pss_pss_sha256",
    "rsa_pss_pss_sha384",
    "rsa_pss_pss_sha512",
    "RSA+SHA256",
    "RSA+SHA384",
    "RSA+SHA512",
)
"""Nothing with SHA-1 or MD5, in certificates or in ServerKeyExchange (RFC 9155)."""
SHA1_SIGNATURES: Final = ("ECDSA+SHA1", "RSA+SHA1")

VERSIONS: Final = {
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}
_LIBRARY_LEVEL: Final = 2
"""OpenSSL's security level 2: RSA and DH below 2048 bits, EC below 224 and SHA-1 are refused."""

_lib = vars(SSL)["_lib"]


@dataclass(frozen=True, slots=True)
class TlsFloor:
    """``ciphers`` are OpenSSL's names for TLS 1.2 and below; the three suites of TLS 1.3 are always offered. Bits are bits.

    ``sha1`` accepts SHA-1 in signatures of certificates and handshakes, which TLS 1.0 and 1.1 cannot do without.
    """

    min_version: str = "1.2"
    ciphers: tuple[str, ...] = SUITES
    signatures: tuple[str, ...] = SIGNATURES
    min_rsa_bits: int = MIN_RSA_BITS
    min_ec_bits: int = MIN_EC_BITS
    sha1: bool = False

    @property
    def below_library(self) -> bool:
        """Whether OpenSSL itself would refuse what this floor allows."""
        old = self.min_version in ("1.0", "1.1")
        return old or self.sha1 or self.min_rsa_bits < MIN_RSA_BITS or self.min_ec_bits < MIN_EC_BITS

    @property
    def above_library(self) -> bool:
        """Whether keys that OpenSSL takes at its level are below this floor."""
        return self.min_rsa_bits > MIN_RSA_BITS or self.min_ec_bits > MIN_EC_BITS

    def context(self) -> SSL.Context:
        """A client's context without roots. Raises ValueError for a name that the TLS library does not know."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(VERSIONS[self.min_version])
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        level = 0 if self.below_library else _LIBRARY_LEVEL
        try:
            context.set_cipher_list(f"{':'.join(self.ciphers)}:@SECLEVEL={level}".encode())
        except SSL.Error as error:
            raise ValueError(f"no cipher suite that the TLS library knows: {', '.join(self.ciphers)}") from error
        names = (*self.signatures, *(SHA1_SIGNATURES if self.sha1 else ()))
        if _lib.SSL_CTX_set1_sigalgs_list(context._context, ":".join(names).encode()) != 1:
            _lib.ERR_clear_error()
            raise ValueError(f"signature algorithms that the TLS library does not know: {', '.join(names)}")
        return context
