"""The least that a server's TLS must offer: ``auditor.tls_interception.upstream_tls``."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from appliance.config.values import Domain, Node

type Version = Literal["1.0", "1.1", "1.2", "1.3"]
type Algorithm = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+-]{3,64}$")]
type RsaBits = Annotated[int, Field(ge=1024, le=16384)]
type EcBits = Annotated[int, Field(ge=192, le=521)]


class LegacyTls(Node):
    """Hosts that cannot do better. What is absent is as for all others."""

    hosts: list[Domain] = Field(min_length=1)
    """``host`` or ``.suffix``."""
    min_version: Version | None = None
    """The oldest version of TLS."""
    ciphers: list[Algorithm] | None = None
    """Cipher suites of TLS 1.2 and below, by OpenSSL's names."""
    sha1: bool = False
    """Accept SHA-1 in signatures. TLS 1.0 and 1.1 need it."""
    min_rsa_bits: RsaBits | None = None
    """The smallest RSA key in a certificate."""
    min_ec_bits: EcBits | None = None
    """The smallest elliptic curve in a certificate."""
    reason: str = ""
    """For people."""


class UpstreamTls(Node):
    """What is offered to servers, and demanded of them."""

    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS."""
    ciphers: list[Algorithm] | None = None
    """Cipher suites of TLS 1.2, by OpenSSL's names; absent: those with forward secrecy and AEAD."""
    signatures: list[Algorithm] | None = None
    """Signature algorithms, by OpenSSL's names; absent: ECDSA, Ed25519, RSA-PSS and RSA with SHA-256 and above."""
    min_rsa_bits: Annotated[int, Field(ge=2048, le=16384)] = 2048
    """The smallest RSA key in a certificate."""
    min_ec_bits: Annotated[int, Field(ge=224, le=521)] = 224
    """The smallest elliptic curve in a certificate."""
    legacy: list[LegacyTls] = []
    """Hosts with a lower floor; the first that matches counts."""
