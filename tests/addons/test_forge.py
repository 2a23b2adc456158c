"""The leaf that a client gets, in handshakes with a real client."""

from typing import Any

import pytest
from mitmproxy.certs import Cert
from OpenSSL import SSL
from OpenSSL.crypto import X509

from addons.forge import Forge
from addons.likeness import leaf_profile
from appliance.domain.clock import ManualClock
from appliance.domain.facts import HelloFacts
from appliance.domain.notes import CertNotes, TlsNotes
from appliance.domain.reason import Reason
from certs.authority import Authority
from certs.cache import LeafCache
from certs.profile import LeafProfile
from certs.server_context import ClientFloor
from tests.addons.flows import A, conn
from tests.addons.tls import ALPN, Place
from tests.certs.tls_pair import handshake


def believing(authority: Authority, host: str, alpn: list[bytes]) -> SSL.Connection:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    store = context.get_cert_store()
    assert store is not None
    context.set_verify(SSL.VERIFY_PEER)
    store.add_cert(X509.from_cryptography(authority.certificate))
    connection = SSL.Connection(context)
    connection.set_tlsext_host_name(host.encode())
    connection.set_alpn_protos(alpn)
    connection.set_connect_state()
    return connection


async def forged(place: Place, authority: Authority, clock: ManualClock) -> tuple[Forge, Any]:
    forge = Forge({A: LeafCache(authority, 10, 60, clock)}, place.http2, clock, place.count)
    data = place.data(place.client)
    pending = forge.tls_start_client(data)
    assert pending is not None
    await pending
    return forge, data


async def test_tls_04_a_leaf_in_the_cache_is_not_waited_for(authority: Authority, clock: ManualClock) -> None:
    place = Place(conn(hello=HelloFacts("www.example.test")))
    forge, first = await forged(place, authority, clock)
    second = place.data(place.client)
    assert forge.tls_start_client(second) is None
    assert second.ssl_conn.get_context() is first.ssl_conn.get_context()


async def test_the_client_gets_a_leaf_for_the_name_it_asked_for(authority: Authority, clock: ManualClock) -> None:
    place = Place(conn(hello=HelloFacts("www.example.test", signature_algorithms=(0x0403,))))
    place.client.sni = "www.example.test"
    forge, data = await forged(place, authority, clock)
    client = believing(authority, "www.example.test", ALPN)
    assert handshake(client, data.ssl_conn) is None
    assert client.get_alpn_proto_negotiated() == b"h2"
    clock.advance(0.25)
    forge.tls_established_client(data)
    notes = place.conn.client_tls
    assert notes is not None
    assert notes.certificate is not None
    assert notes.certificate.names == ("www.example.test",)
    assert place.told == [("client", Reason.OK, pytest.approx(0.25))]


@pytest.mark.parametrize(
    ("http2", "server_alpn", "expected"), [(True, None, b"h2"), (False, None, b"http/1.1"), (True, b"http/1.1", b"http/1.1")]
)
async def test_one_protocol_from_end_to_end(
    authority: Authority, clock: ManualClock, http2: bool, server_alpn: bytes | None, expected: bytes
) -> None:
    place = Place(conn(hello=HelloFacts("a.test")), http2=http2)
    if server_alpn:
        place.server.timestamp_tls_setup, place.server.alpn = 1.0, server_alpn
    _, data = await forged(place, authority, clock)
    client = believing(authority, "a.test", ALPN)
    assert handshake(client, data.ssl_conn) is None
    assert client.get_alpn_proto_negotiated() == expected


async def followed(authority: Authority, clock: ManualClock, verify: str) -> CertNotes:
    """The leaf of a connection whose origin has a wildcard certificate, and whose verification said ``verify``."""
    end = int(clock.now()) + 5 * 86_400
    real = await LeafCache(authority, 10, 60, clock).get(LeafProfile(("*.example.test",), not_after=end))
    place = Place(conn(hello=HelloFacts("www.example.test")))
    place.server.timestamp_tls_setup = 1.0
    place.server.certificate_list = [Cert(real.certificate)]
    place.conn.server_tls = TlsNotes(verify=verify)
    await forged(place, authority, clock)
    assert place.conn.client_tls is not None
    assert place.conn.client_tls.certificate is not None
    return place.conn.client_tls.certificate


async def test_the_real_certificate_s_names_and_end_are_followed(authority: Authority, clock: ManualClock) -> None:
    """C12."""
    notes = await followed(authority, clock, "ok")
    assert notes.names == ("*.example.test",)
    assert notes.not_after <= clock.now() + 5 * 86_400


@pytest.mark.security
async def test_the_names_of_a_certificate_that_was_not_verified_are_not_followed(
    authority: Authority, clock: ManualClock
) -> None:
    notes = await followed(authority, clock, "upstream_cert_self_signed: let through by a rule")
    assert notes.names == ("www.example.test",)
    assert notes.not_after <= clock.now() + 5 * 86_400


ECDSA, RSA = (0x0403,), (0x0804,)


@pytest.mark.parametrize(
    ("same_key", "offer", "expected"),
    [(True, ECDSA + RSA, "RSA"), (False, ECDSA + RSA, "EC"), (True, ECDSA, "EC"), (False, RSA, "RSA")],
)
async def test_tls_03_an_rsa_origin_gets_an_rsa_leaf_where_the_client_accepts_it(
    authority: Authority, clock: ManualClock, same_key: bool, offer: tuple[int, ...], expected: str
) -> None:
    real = await LeafCache(authority, 10, 60, clock).get(LeafProfile(("a.test",), ecdsa=False))
    place = Place(conn(hello=HelloFacts("a.test", versions=(0x0304,), signature_algorithms=offer)))
    place.server.timestamp_tls_setup = 1.0
    place.server.certificate_list = [Cert(real.certificate)]
    profile = leaf_profile(place.conn, place.server, clock.now(), same_key=same_key)
    assert profile.ecdsa is (expected == "EC")


@pytest.mark.parametrize(
    ("signatures", "offer", "expected"),
    [
        (("rsa_pss_rsae_sha256",), ECDSA + RSA, "RSA"),
        (("ecdsa_secp256r1_sha256",), ECDSA + RSA, "EC"),
        (("ecdsa_secp384r1_sha384", "rsa_pkcs1_sha256"), ECDSA + RSA, "RSA"),
        (("ecdsa_secp384r1_sha384",), ECDSA + RSA, "EC"),
        (("ecdsa_secp256r1_sha256",), RSA, "RSA"),
    ],
)
def test_c19_the_floor_s_signatures_decide_on_the_key(
    signatures: tuple[str, ...], offer: tuple[int, ...], expected: str
) -> None:
    """Where nothing fits, the handshake says so."""
    place = Place(conn(hello=HelloFacts("a.test", versions=(0x0304,), signature_algorithms=offer)))
    profile = leaf_profile(place.conn, place.server, 0.0, same_key=False, floor=ClientFloor(signatures=signatures))
    assert profile.ecdsa is (expected == "EC")


@pytest.mark.parametrize(
    ("error", "reason"),
    [("tlsv1 alert unknown ca", Reason.CLIENT_REJECTED_LEAF), (None, Reason.CLIENT_TLS_FAILED)],
)
def test_a_client_that_does_not_believe_us_is_counted_so(
    authority: Authority, clock: ManualClock, error: str | None, reason: Reason
) -> None:
    place = Place(conn(hello=HelloFacts("a.test")))
    data = place.data(place.client)
    data.conn.error = error
    Forge({}, frozenset(), clock, place.count).tls_failed_client(data)
    assert place.conn.client_tls is not None
    assert place.conn.client_tls.error == (error or "handshake failed")
    assert place.told == [("client", reason, 0.0)]
