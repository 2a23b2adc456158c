"""Sessions with servers (TLS-12): kept after a verification, bounded, offered once, and not beyond their certificates."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from OpenSSL import SSL

from appliance.domain.clock import ManualClock
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason
from certs import upstream_sessions
from certs.trust import UpstreamTrust
from certs.upstream_sessions import PER_PLACE, Known, Lifetime, Place, UpstreamSessions, has_ticket, is_resumed, lifetime_of
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import LEAF, NOW
from tests.certs.tls_pair import accepting, bad_server, handshake

PLACE = Place(TenantId("a"), ("direct",), ("192.0.2.1", 443), "origin.test", (b"http/1.1",))
ALWAYS = Known(Lifetime(0.0, 1e12))
HOUR = 3600.0


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("roots") / "roots.pem"
    file.write_bytes(pem(forge.world().root))
    return file


@pytest.fixture
def trust(roots: Path, clock: ManualClock) -> UpstreamTrust:
    return UpstreamTrust([roots], system_roots=False, clock=clock)


@pytest.fixture
def sessions(clock: ManualClock) -> UpstreamSessions:
    return UpstreamSessions(clock, capacity=20)


class Origin:
    """One server, whose connections share a context and with it the key of its tickets."""

    def __init__(self, *, tls12: bool = False) -> None:
        leaf = forge.issue(LEAF, forge.world().intermediate)
        self._context = bad_server(leaf, [forge.world().intermediate], tls12=tls12).get_context()

    def meet(self, client: SSL.Connection) -> None:
        """A handshake, and what follows it: in TLS 1.3, the tickets."""
        server = accepting(self._context)
        assert handshake(client, server) is None
        server.send(b"hello")
        client.bio_write(server.bio_read(65536))
        assert client.recv(100) == b"hello"


def connect(origin: Origin, trust: UpstreamTrust, sessions: UpstreamSessions, place: Place = PLACE) -> SSL.Connection:
    """One connection of an appliance that keeps what it can, and offers what it has."""
    client = trust.connection("origin.test", list(place.alpn))
    offered = sessions.offer(client, place)
    origin.meet(client)
    known = offered if is_resumed(client) else learnt(client)
    assert known is not None
    sessions.keep(client, place, known, HOUR)
    upstream_sessions.close_quietly(client)
    return client


def learnt(client: SSL.Connection) -> Known | None:
    lifetime = lifetime_of(client)
    return Known(lifetime) if lifetime is not None else None


def first_flight(client: SSL.Connection) -> bytes:
    with suppress(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


def test_the_key_share_is_for_what_the_server_used_and_the_rest_is_still_offered(
    trust: UpstreamTrust, sessions: UpstreamSessions
) -> None:
    """A share for ML-KEM has 1,184 octets; a server that has learnt it since asks for it."""
    origin = Origin()
    SSL._lib.SSL_CTX_set1_curves_list(vars(origin._context)["_context"], b"X25519:P-256")  # type: ignore[attr-defined]
    new = first_flight(trust.connection("origin.test", list(PLACE.alpn)))
    connect(origin, trust, sessions)
    again = trust.connection("origin.test", list(PLACE.alpn))
    assert sessions.offer(again, PLACE) is not None
    known = first_flight(again)
    assert len(new) > 1184 > len(known)
    assert b"\x11\xec" in known  # X25519MLKEM768, among the supported groups


def test_a_server_of_mlkem_gets_its_share_at_once(trust: UpstreamTrust, sessions: UpstreamSessions) -> None:
    origin = Origin()
    SSL._lib.SSL_CTX_set1_curves_list(vars(origin._context)["_context"], b"X25519MLKEM768:X25519")  # type: ignore[attr-defined]
    connect(origin, trust, sessions)
    again = trust.connection("origin.test", list(PLACE.alpn))
    assert sessions.offer(again, PLACE) is not None
    assert len(first_flight(again)) > 1184


@pytest.mark.parametrize("tls12", [False, True], ids=["TLS 1.3", "TLS 1.2"])
def test_tls_12_the_next_connection_resumes_and_keeps_the_facts(
    trust: UpstreamTrust, sessions: UpstreamSessions, tls12: bool
) -> None:
    origin = Origin(tls12=tls12)
    first, *others = [connect(origin, trust, sessions) for _ in range(4)]
    assert not is_resumed(first)
    assert all(is_resumed(each) for each in others)
    for each in others:
        assert trust.verdict(each).reason is Reason.OK
        chain = each.get_peer_cert_chain()
        assert chain is not None
        assert [one.digest("sha256") for one in chain] == [one.digest("sha256") for one in first.get_peer_cert_chain() or []]
    assert sessions.counters["offered"] == 3


@pytest.mark.security
@pytest.mark.parametrize("other", [
    replace(PLACE, tenant=TenantId("b")), replace(PLACE, way=("tor",)), replace(PLACE, address=("192.0.2.2", 443)),
    replace(PLACE, address=("192.0.2.1", 8443)), replace(PLACE, name="other.test"), replace(PLACE, alpn=(b"h2",)),
], ids=["tenant", "way out", "address", "port", "name", "alpn"])  # fmt: skip
def test_tls_12_a_session_is_offered_nowhere_else(trust: UpstreamTrust, sessions: UpstreamSessions, other: Place) -> None:
    connect(Origin(), trust, sessions)
    assert sessions.offer(trust.connection("origin.test"), other) is None
    assert sessions.offer(trust.connection("origin.test"), PLACE) is not None


def test_a_session_is_offered_once(trust: UpstreamTrust, sessions: UpstreamSessions) -> None:
    connect(Origin(), trust, sessions)
    assert sessions.offer(trust.connection("origin.test"), PLACE) is not None
    assert sessions.offer(trust.connection("origin.test"), PLACE) is None
    assert len(sessions) == 0


def test_the_life_of_a_session_is_what_all_certificates_share(trust: UpstreamTrust) -> None:
    client = trust.connection("origin.test")
    Origin().meet(client)
    chain = client.get_verified_chain(as_cryptography=True)
    assert chain is not None
    assert len(chain) == 3
    lifetime = lifetime_of(client)
    assert lifetime is not None
    assert lifetime.not_after == min(each.not_valid_after_utc.timestamp() for each in chain)
    assert lifetime.not_before == max(each.not_valid_before_utc.timestamp() for each in chain)
    assert lifetime.holds(lifetime.not_before)
    assert not lifetime.holds(lifetime.not_after)
    assert lifetime_of(trust.connection("origin.test")) is None


@pytest.mark.security
@pytest.mark.parametrize("jump", [timedelta(days=4000), timedelta(days=-4000)], ids=["forward", "back"])
def test_tls_12_nothing_is_offered_when_a_certificate_is_not_valid_by_the_clock(
    trust: UpstreamTrust, sessions: UpstreamSessions, clock: ManualClock, jump: timedelta
) -> None:
    connect(Origin(), trust, sessions)
    clock.time = (NOW + jump).timestamp()
    assert sessions.offer(trust.connection("origin.test"), PLACE) is None
    assert sessions.counters["expired"] == 1
    assert len(sessions) == 0


def test_an_old_session_is_not_offered(trust: UpstreamTrust, sessions: UpstreamSessions, clock: ManualClock) -> None:
    connect(Origin(), trust, sessions)
    connect(Origin(), trust, sessions, replace(PLACE, name="other.test"))
    clock.advance(HOUR - 1)
    assert sessions.offer(trust.connection("origin.test"), PLACE) is not None
    clock.advance(1)
    assert sessions.offer(trust.connection("origin.test"), replace(PLACE, name="other.test")) is None


def test_a_wall_clock_that_is_set_back_makes_no_session_live_longer(
    trust: UpstreamTrust, sessions: UpstreamSessions, clock: ManualClock
) -> None:
    connect(Origin(), trust, sessions)
    clock.advance(HOUR)
    clock.time -= HOUR
    assert sessions.offer(trust.connection("origin.test"), PLACE) is None


def test_nothing_is_kept_of_a_chain_that_is_not_valid_now(trust: UpstreamTrust, sessions: UpstreamSessions) -> None:
    client = trust.connection("origin.test")
    Origin().meet(client)
    sessions.keep(client, PLACE, Known(Lifetime(0.0, NOW.timestamp())), HOUR)
    assert len(sessions) == 0


def test_sessions_are_bounded_and_the_least_used_place_goes_first(trust: UpstreamTrust, clock: ManualClock) -> None:
    sessions = UpstreamSessions(clock, capacity=3)
    client = trust.connection("origin.test")
    Origin().meet(client)
    places = [replace(PLACE, name=f"host-{number}.test") for number in range(4)]
    for place in (*places[:3], places[0], places[3]):
        sessions.keep(client, place, ALWAYS, HOUR)
    assert len(sessions) == 3
    assert sessions.counters["evicted"] == 2
    kept = [place for place in places if sessions.offer(trust.connection("origin.test"), place) is not None]
    assert kept == [places[0], places[3]]
    assert len(sessions) == 1  # the first place had two


def test_one_place_keeps_a_few_sessions(trust: UpstreamTrust, sessions: UpstreamSessions) -> None:
    client = trust.connection("origin.test")
    Origin().meet(client)
    for _ in range(PER_PLACE + 1):
        sessions.keep(client, PLACE, ALWAYS, HOUR)
    assert len(sessions) == PER_PLACE
    assert sessions.counters["evicted"] == 1


def test_a_place_is_forgotten(trust: UpstreamTrust, sessions: UpstreamSessions) -> None:
    connect(Origin(), trust, sessions)
    sessions.forget(PLACE)
    sessions.forget(PLACE)
    assert len(sessions) == 0
    assert sessions.counters["forgotten"] == 1


def test_the_ticket_of_tls_1_3_comes_after_the_handshake(trust: UpstreamTrust) -> None:
    origin, client = Origin(), trust.connection("origin.test")
    server = accepting(origin._context)
    assert handshake(client, server) is None
    at_first = client.get_session()
    assert not has_ticket(client, at_first)
    server.send(b"hello")
    client.bio_write(server.bio_read(65536))
    client.recv(5)
    assert has_ticket(client, at_first)


def test_a_server_that_has_lost_its_keys_is_verified_anew(trust: UpstreamTrust, sessions: UpstreamSessions) -> None:
    connect(Origin(), trust, sessions)
    assert not is_resumed(connect(Origin(), trust, sessions))
    assert sessions.counters["offered"] == 1


def test_who_shows_a_certificate_is_told_apart(trust: UpstreamTrust) -> None:
    client = trust.connection("origin.test")
    assert not upstream_sessions.presents_certificate(client)
    pair = forge.issue(LEAF, forge.world().intermediate)
    client.use_certificate(pair.certificate)
    assert upstream_sessions.presents_certificate(client)


def test_a_capacity_is_at_least_one(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="capacity"):
        UpstreamSessions(clock, 0)
