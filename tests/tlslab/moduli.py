"""Moduli for finite-field Diffie-Hellman: one that is good, and those that are not."""

from tests.certs.forge_origin import rsa_key

MODP_1024 = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff",
    16,
)
"""RFC 2409 section 6.2."""


def prime_512() -> int:
    """Any prime of the size that export ciphers had."""
    return rsa_key(1024).private_numbers().p


def composite_2048() -> int:
    """Of a good size, and the product of two primes (CVE-2016-0701 and after): whoever made it reads along."""
    return rsa_key(2048).public_key().public_numbers().n
