"""Which sessions with servers are asked for and kept (TLS-12), in handshakes with a real server."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from addons.resumption import Resumption
from addons.upstream_tls import UpstreamTls
from appliance.domain.clock import SystemClock
from appliance.domain.ids import TenantId
from appliance.domain.notes import EscapeNotes
from certs.authority import Authority
from certs.cache import Leaf, LeafCache
from certs.profile import LeafProfile
from certs.trust import UpstreamTrust
from certs.upstream_sessions import UpstreamSessions
from tests.addons.flows import A, conn, flow
from tests.addons.tls import ALPN, Place, matrices, nobody
from tests.certs.tls_pair import accepting, handshake

B = TenantId("b")


class Stage:
    """The two addons of a worker with tenants that may resume, and one server."""

    def __init__(self, authority: Authority, leaf: Leaf, folder: Path, ages: dict[TenantId, float]) -> None:
        roots = folder / "roots.pem"
        roots.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
        trust = UpstreamTrust([roots], system_roots=False)
        self.told: list[tuple[str, bool]] = []
        self.sessions = UpstreamSessions(SystemClock())
        self.upstream = UpstreamTls({A: trust, B: trust}, matrices(), nobody(), frozenset(), lambda *_: None)
        self.resumption = Resumption(self.sessions, ages, lambda side, resumed: self.told.append((side, resumed)))
        self.leaf = leaf

    def start(self, **notes: Any) -> tuple[Place, Any]:
        place = Place(conn(**notes))
        place.client.alpn_offers = ALPN
        data = place.data(place.server)
        self.upstream.tls_start_server(data)
        self.resumption.tls_start_server(data)
        return place, data

    def connect(self, *, answer: bool = True, verify: str = "ok", **notes: Any) -> bool:
        """One connection of a client's, to its end. Whether it was resumed."""
        place, data = self.start(**notes)
        server = accepting(self.leaf.context, {"alpn": (b"http/1.1",)})
        assert handshake(data.ssl_conn, server) is None
        self.upstream.tls_established_server(data)
        assert place.conn.server_tls is not None
        place.conn.server_tls.verify = verify
        self.resumption.tls_established_server(data)
        if answer:
            server.send(b"hello")
            data.ssl_conn.bio_write(server.bio_read(65536))
            assert data.ssl_conn.recv(5) == b"hello"
        answered = flow(notes=place.conn)
        answered.server_conn = place.server
        self.resumption.responseheaders(answered)
        self.resumption.responseheaders(answered)  # a second answer on the same connection
        place.server.arcus_ended()  # type: ignore[attr-defined]
        return place.conn.server_tls.resumed


@pytest.fixture
async def stage(authority: Authority, tmp_path: Path) -> Stage:
    leaf = await LeafCache(authority, 10, 60, SystemClock()).get(LeafProfile(("example.test",)))
    return Stage(authority, leaf, tmp_path, {A: 60.0, B: 60.0})


def test_tls_12_a_second_connection_resumes_is_noted_and_counted(stage: Stage) -> None:
    assert [stage.connect() for _ in range(3)] == [False, True, True]
    assert stage.told == [("server", False), ("server", True), ("server", True)]
    assert len(stage.sessions) == 1


@pytest.mark.security
def test_tls_12_no_tenant_resumes_what_another_has_verified(stage: Stage) -> None:
    assert not stage.connect(tenant=A)
    assert not stage.connect(tenant=B)
    assert stage.connect(tenant=B)


@pytest.mark.security
def test_a_session_is_not_carried_to_another_way_out(stage: Stage) -> None:
    assert not stage.connect(escape=EscapeNotes(path=("office",)))
    assert not stage.connect(escape=EscapeNotes(path=("tor",)))
    assert stage.connect(escape=EscapeNotes(path=("office",)))


@pytest.mark.security
@pytest.mark.parametrize("verify", ["upstream_cert_expired: allowed by a rule", ""])
def test_tls_12_what_a_rule_let_pass_is_judged_again_each_time(stage: Stage, verify: str) -> None:
    assert not stage.connect(verify=verify)
    assert len(stage.sessions) == 0
    assert not stage.connect()


def test_a_tenant_that_does_not_resume_never_does(authority: Authority, stage: Stage, tmp_path: Path) -> None:
    off = Stage(authority, stage.leaf, tmp_path, {})
    place, data = off.start()
    assert handshake(data.ssl_conn, accepting(stage.leaf.context, {"alpn": (b"http/1.1",)})) is None
    off.resumption.tls_established_server(data)
    assert off.told == [("server", False)]
    off.resumption.tls_failed_server(data)
    answered = flow(notes=place.conn)
    answered.server_conn = place.server
    off.resumption.responseheaders(answered)
    assert len(off.sessions) == 0


def test_without_a_ticket_there_is_nothing_to_keep(stage: Stage) -> None:
    assert not stage.connect(answer=False)
    assert len(stage.sessions) == 0


@pytest.mark.security
async def test_tls_12_a_server_that_fails_loses_its_sessions(stage: Stage, authority: Authority) -> None:
    stage.connect()
    stage.connect()
    place, data = stage.start()
    other = await LeafCache(authority, 10, 60, SystemClock()).get(LeafProfile(("other.test",)))
    error = handshake(data.ssl_conn, accepting(other.context, {"alpn": (b"http/1.1",)}))
    assert isinstance(error, SSL.Error)
    stage.sessions.offer(data.ssl_conn, data.conn.arcus_attempt.place)
    stage.upstream.tls_failed_server(data)
    stage.resumption.tls_failed_server(data)
    assert len(stage.sessions) == 0
    assert not stage.connect()


def test_who_shows_a_certificate_neither_asks_nor_leaves_a_session(stage: Stage) -> None:
    stage.connect()
    place = Place(conn())
    data = place.data(place.server)
    stage.upstream.tls_start_server(data)
    data.ssl_conn.use_certificate(stage.leaf.certificate)
    data.ssl_conn.use_privatekey(stage.leaf.key)
    stage.resumption.tls_start_server(data)
    assert not hasattr(place.server, "arcus_attempt")


async def test_the_clients_side_is_counted(stage: Stage) -> None:
    place = Place(conn())
    data = place.data(place.client)
    stage.resumption.tls_established_client(data)
    data.ssl_conn = accepting(stage.leaf.context)
    stage.resumption.tls_established_client(data)
    assert stage.told == [("client", False)]
