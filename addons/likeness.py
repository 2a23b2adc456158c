"""Which leaf a connection gets: after the origin's certificate where there is one, else for the name asked for."""

from mitmproxy import connection

from appliance.domain.facts import HelloFacts
from appliance.domain.notes import ConnNotes
from certs.mimic import mimic
from certs.profile import LeafProfile


def leaf_profile(conn: ConnNotes, server: connection.Server, now: float, *, same_key: bool) -> LeafProfile:
    """``same_key``: an RSA origin gets an RSA leaf where the client accepts it. Raises ValueError: no name is known."""
    hello = conn.hello or HelloFacts()
    host = hello.sni or (server.address[0] if server.address else "")
    if not (server.tls_established and server.certificate_list):
        return LeafProfile.for_host(host, ecdsa=hello.accepts_ecdsa)
    origin = server.certificate_list[0].to_cryptography()
    rsa = same_key and hello.accepts_rsa
    return mimic(host, origin, now, ecdsa=hello.accepts_ecdsa, rsa=rsa, verified=_verified(conn))


def _verified(conn: ConnNotes) -> bool:
    return conn.server_tls is not None and conn.server_tls.verify == "ok"
