"""What TLS may be made of: OpenSSL's names for suites and groups, IANA's for signatures. Of each, the preferred is first."""

from typing import Final, Literal, get_args

type Suite = Literal[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
]
type Signature = Literal[
    "ecdsa_secp256r1_sha256",
    "ecdsa_secp384r1_sha384",
    "ecdsa_secp521r1_sha512",
    "rsa_pss_rsae_sha256",
    "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha256",
    "rsa_pkcs1_sha384",
    "rsa_pkcs1_sha512",
]
type Group = Literal["X25519MLKEM768", "SecP256r1MLKEM768", "X25519", "P-256", "P-384", "P-521"]
"""All that may be configured."""

SUITES: Final[tuple[Suite, ...]] = get_args(Suite.__value__)
"""Of TLS 1.2. Forward secrecy and AEAD only (RFC 9325 section 4.2); TLS 1.3 brings nothing else."""
SIGNATURES: Final[tuple[Signature, ...]] = get_args(Signature.__value__)
"""Nothing with SHA-1 (RFC 9155)."""
GROUPS: Final[tuple[Group, ...]] = ("X25519MLKEM768", "X25519", "P-256", "P-384")
"""Key exchange, the post-quantum one first; the rest is Mozilla's intermediate profile."""
