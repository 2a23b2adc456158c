"""TLS towards clients: ``tls_interception.client_tls``, and the same for a listener, ``server[].client_tls``."""

from typing import Literal

from pydantic import Field

from appliance.config.values import Node
from appliance.domain.tls_words import GROUPS, SIGNATURES, SUITES, Group, Signature, Suite

Version = Literal["1.2", "1.3"]


class ClientTls(Node):
    """What clients of intercepted connections must speak. Nothing weaker can be configured. Of a listener and a tenant's
    auditor the stricter counts: the higher version, and of each list what stands in both.

    A client that has nothing in common with it fails, and the record says in ``tls_failure`` whether it was the ``version``
    or the ``cipher``, which is the word for suites, signatures and groups alike."""

    min_version: Version = "1.2"
    """The lowest version of TLS."""
    ciphers: list[Suite] = Field(list(SUITES), min_length=1)
    """Cipher suites of TLS 1.2, in our order of preference, by OpenSSL's names. A leaf has an ECDSA or an RSA key, whichever
    the client accepts: a list without suites for one of the two keeps such clients out. TLS 1.3 has its own three."""
    signatures: list[Signature] = Field(list(SIGNATURES), min_length=1)
    """Algorithms that we sign handshakes with, by IANA's names. The leaf has the kind of key that this list and the client
    leave: P-256, for which TLS 1.3 takes ``ecdsa_secp256r1_sha256`` alone, or RSA with 2048 bits; PKCS #1 is for TLS 1.2."""
    groups: list[Group] = Field(list(GROUPS), min_length=1)
    """Groups for the key exchange, in our order of preference: the least of them is the smallest key that is agreed on.
    X25519MLKEM768 and SecP256r1MLKEM768 are safe from quantum computers, and are for TLS 1.3 only."""
