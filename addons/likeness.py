"""Which leaf a connection gets: after the origin's certificate where there is one, else for the name asked for."""

from mitmproxy import connection

from appliance.domain.facts import HelloFacts
from appliance.domain.notes import ConnNotes
from certs.mimic import mimic
from certs.profile import LeafProfile
from certs.server_context import DEFAULT_FLOOR, ClientFloor


def leaf_profile(
    conn: ConnNotes, server: connection.Server, now: float, *, same_key: bool, floor: ClientFloor = DEFAULT_FLOOR
) -> LeafProfile:
    """``same_key``: an RSA origin gets an RSA leaf where the client accepts it. ``floor``: what handshakes may be signed with
    decides as well. Raises ValueError: no name is known."""
    hello = conn.hello or HelloFacts()
    host = hello.sni or (server.address[0] if server.address else "")
    ecdsa = hello.accepts_ecdsa and (floor.ecdsa or not floor.rsa)
    if not (server.tls_established and server.certificate_list):
        return LeafProfile.for_host(host, ecdsa=ecdsa)
    origin = server.certificate_list[0].to_cryptography()
    rsa = same_key and hello.accepts_rsa and floor.rsa
    return mimic(host, origin, now, ecdsa=ecdsa, rsa=rsa, verified=_verified(conn))


def _verified(conn: ConnNotes) -> bool:
    return conn.server_tls is not None and conn.server_tls.verify == "ok"
