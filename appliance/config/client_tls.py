"""TLS towards clients: ``tls_interception.client_tls``."""

from typing import Literal

from pydantic import Field

from appliance.config.values import Node

Version = Literal["1.2", "1.3"]
Suite = Literal[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
]
SUITES: tuple[Suite, ...] = Suite.__args__  # type: ignore[attr-defined]


class ClientTls(Node):
    """What clients of intercepted connections must speak. Nothing weaker can be configured."""

    min_version: Version = "1.2"
    """The lowest version of TLS. A listener's ``client_tls_min_version`` may demand more."""
    ciphers: list[Suite] = Field(list(SUITES), min_length=1)
    """Cipher suites of TLS 1.2, in our order of preference, by OpenSSL's names. A leaf has an ECDSA or an RSA key, whichever
    the client accepts: a list without suites for one of the two keeps such clients out. TLS 1.3 has its own three."""
