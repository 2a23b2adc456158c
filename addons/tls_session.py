"""What OpenSSL knows of a session, also of one whose handshake has failed."""

from typing import Protocol

from OpenSSL import SSL

from appliance.domain.reason import Reason
from certs.upstream_sessions import is_resumed


def agreed(connection: SSL.Connection | None) -> tuple[str, str]:
    """Version and cipher suite; both empty before there was a ServerHello."""
    cipher = connection.get_cipher_name() if connection is not None else None
    if connection is None or cipher is None:
        return "", ""
    return connection.get_protocol_version_name(), cipher


def server_asked(connection: SSL.Connection | None) -> bool:
    """Whether the server wants a certificate of the client (see ``certs.client_certificate``)."""
    return connection is not None and bool(getattr(connection.get_app_data(), "asked", False))


def presented(connection: SSL.Connection | None) -> str:
    """The fingerprint of the certificate that the server got from us; empty when it got none."""
    return str(getattr(connection.get_app_data(), "presented", "")) if connection is not None else ""


def resumed(connection: SSL.Connection | None) -> bool:
    """Whether the handshake resumed an earlier session. False without a connection."""
    return connection is not None and is_resumed(connection)


class HandshakeCount(Protocol):
    """Told of each TLS handshake: ``side`` is ``client`` or ``server``."""

    def __call__(self, side: str, reason: Reason, seconds: float) -> None: ...
