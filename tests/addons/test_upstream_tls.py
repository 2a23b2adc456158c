"""How a server is believed or named, in handshakes with a real server."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from addons.upstream_tls import UpstreamTls
from appliance.domain.clock import SystemClock
from appliance.domain.reason import Reason
from certs.authority import Authority
from certs.cache import LeafCache
from certs.profile import LeafProfile
from certs.trust import UpstreamTrust
from tests.addons.flows import A, conn
from tests.addons.tls import ALPN, Place, matrices, nobody
from tests.certs.tls_pair import handshake


def upstream(place: Place, authority: Authority, trusted: bool, tmp_path: Path) -> tuple[UpstreamTls, Any]:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority.certificate.public_bytes(Encoding.PEM) if trusted else b"")
    trust = UpstreamTrust([roots] if trusted else [], system_roots=not trusted)
    hooks = UpstreamTls({A: trust}, matrices(), nobody(), place.http2, place.count)
    data = place.data(place.server)
    hooks.tls_start_server(data)
    return hooks, data


@pytest.mark.security
@pytest.mark.parametrize(("host", "trusted", "reason"), [
    ("example.test", True, Reason.OK),
    ("other.test", True, Reason.UPSTREAM_CERT_WRONG_HOST),
    ("example.test", False, Reason.UPSTREAM_CERT_UNTRUSTED),
])  # fmt: skip
async def test_a_server_is_believed_or_named(
    authority: Authority, host: str, trusted: bool, reason: Reason, tmp_path: Path
) -> None:
    place = Place(conn())
    place.client.alpn_offers = ALPN
    hooks, data = upstream(place, authority, trusted, tmp_path)
    leaf = await LeafCache(authority, 10, 60, SystemClock()).get(LeafProfile((host,)))
    server = SSL.Connection(leaf.context)
    server.set_app_data({"alpn": (b"http/1.1",)})
    server.set_accept_state()
    error = handshake(data.ssl_conn, server)
    assert (error is None) is (reason is Reason.OK)
    if error is None:
        place.server.timestamp_tcp_setup, place.server.timestamp_tls_setup = 10.0, 10.5
        hooks.tls_established_server(data)
        assert place.conn.server_tls is not None
        assert place.conn.server_tls.verify == "ok"
    else:
        hooks.tls_failed_server(data)
        assert data.conn.error.startswith(reason.word + ": ")
        assert place.conn.server_tls is not None
        assert place.conn.server_tls.certificate is not None
    assert place.told == [("server", reason, 0.5 if reason is Reason.OK else 0.0)]


@pytest.mark.parametrize(
    ("offers", "http2", "expected"),
    [(ALPN, True, ALPN), (ALPN, False, [b"http/1.1"]), ([], True, [b"http/1.1"]), ([b"spdy/3"], True, [b"http/1.1"])],
)
def test_the_server_is_offered_what_the_client_offered(
    authority: Authority, offers: list[bytes], http2: bool, expected: list[bytes], tmp_path: Path
) -> None:
    place = Place(conn(), http2=http2)
    place.client.alpn_offers = offers
    upstream(place, authority, True, tmp_path)
    assert place.server.alpn_offers == expected
    assert place.server.sni == "example.test"
