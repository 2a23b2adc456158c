"""TLS-12: what one client connection leaves to the next, and what it must not."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import trustme
from cryptography import x509
from mitmproxy.certs import Cert
from mitmproxy.connection import Client, Connection, ConnectionState
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.server import ConnectionIO
from OpenSSL import SSL

from appliance.domain.clock import ManualClock
from appliance.domain.facts import ClientFacts, UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, EscapeNotes, TlsNotes
from appliance.engine.context import TaskServer
from appliance.engine.idle_servers import IdleServers, Keeping
from appliance.engine.keeping import Keeper
from appliance.engine.options import EAGER
from appliance.engine.server_connection import party_of
from appliance.engine.stream import PeekReader
from appliance.engine.tls_side import TlsSide
from certs.floor import TlsFloor
from certs.verification import Verification, tolerates_nothing

A = TenantId("a")
LEAF = Cert(x509.load_pem_x509_certificate(trustme.CA().issue_cert("o.test").cert_chain_pems[0].bytes()))


class Transport:
    closed = False
    waiting = 0

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_protocol(self) -> asyncio.Protocol:
        return asyncio.Protocol()

    def set_protocol(self, _protocol: asyncio.Protocol) -> None: ...
    def abort(self) -> None: ...
    def get_extra_info(self, _name: str) -> None:
        return None


class Writer:
    def __init__(self) -> None:
        self.transport = Transport()

    def is_closing(self) -> bool:
        return self.transport.closed


class Place:
    """One client connection whose exchanges are over; ``side`` is what is at rest on its server."""

    def __init__(self, idle: IdleServers, **facts: Any) -> None:
        self.conn = ConnNotes(ClientFacts("192.0.2.1", 1, "explicit"), tenant=A, user=UserFacts("alice", "staff"))
        self.conn.server_tls = TlsNotes(verify="ok")
        self.client = Client(peername=("192.0.2.1", 1), sockname=("192.0.2.2", 2), state=ConnectionState.OPEN)
        self.client.sni, self.client.alpn_offers = "o.test", [b"http/1.1"]
        self.server = TaskServer(address=("o.test", 443), state=ConnectionState.OPEN)
        self.server.alpn, self.server.certificate_list = b"http/1.1", [LEAF]
        self.server.arcus = EscapeNotes(path=("direct",), resolved_ip="198.51.100.1", tries=1, ms={"connect": 3.0})
        self.server.arcus_party, self.server.arcus_free = party_of(self.conn), True
        self.reader, self.writer = PeekReader(100), Writer()
        self.tls = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
        self.tls.set_app_data(Verification("o.test", TlsFloor(), lambda *_: True))
        self.side: TlsSide | None = TlsSide(self.server, self.tls, self.conn, towards_client=False)
        io = ConnectionIO(reader=self.reader, writer=cast(asyncio.StreamWriter, self.writer))
        self.transports: dict[Connection, ConnectionIO] = {self.server: io}
        self.keeper = Keeper(self.conn, idle, self.transports)

    def at_rest(self, server: Connection) -> TlsSide | None:
        return self.side if server is self.server else None

    def leave(self) -> bool:
        self.keeper.begun(self.server)
        self.keeper.leave(self.client, self)
        return self.keeper.has_left(self.server)


@pytest.fixture
def idle() -> IdleServers:
    return IdleServers({A: Keeping(10.0, 60.0, 4)}, lambda *_: True, ManualClock())


async def test_tls_12_what_is_left_is_taken_with_all_that_is_known_of_it(idle: IdleServers) -> None:
    place = Place(idle)
    assert place.leave()
    assert place.server not in place.transports
    assert place.tls.get_app_data().tolerates is tolerates_nothing
    taker = Place(idle)
    context = Context(taker.client, EAGER)  # type: ignore[arg-type]
    context.server.address = ("o.test", 443)
    side = taker.keeper.take(taker.client, context)
    assert side is not None
    assert (side.conn, side.tls, side.notes) == (place.server, place.tls, taker.conn)
    assert context.server is place.server
    assert taker.transports[place.server].reader is place.reader
    assert taker.conn.server_tls == TlsNotes(verify="ok")
    assert taker.conn.server_tls is not place.conn.server_tls
    assert taker.conn.escape == EscapeNotes(path=("direct",), resolved_ip="198.51.100.1", reused=True)
    assert place.server.timestamp_start is None
    assert taker.keeper.take(taker.client, context) is None


SPEAKS_AGAINST: dict[str, Callable[[Place], object]] = {
    "an exchange": lambda p: setattr(p, "side", None),
    "no word for it": lambda p: delattr(p.server, "arcus_free"),
    "a word against it": lambda p: setattr(p.server, "arcus_free", False),
    "HTTP/2": lambda p: setattr(p.server, "alpn", b"h2"),
    "half closed": lambda p: setattr(p.server, "state", ConnectionState.CAN_WRITE),
    "octets not read": lambda p: p.reader.feed_data(b"x"),
    "its end": lambda p: p.reader.feed_eof(),
    "its failure": lambda p: p.reader.set_exception(OSError()),
    "octets not sent": lambda p: setattr(p.writer.transport, "waiting", 1),
    "closing": lambda p: setattr(p.writer.transport, "closed", True),
    "no certificate": lambda p: setattr(p.server, "certificate_list", []),
    "another party's": lambda p: setattr(p.server, "arcus_party", ("a", "bob")),
    "a proxy for many": lambda p: setattr(p.conn, "client", replace(p.conn.client, trusted_peer=True)),
    "no tenant": lambda p: setattr(p.conn, "tenant", None),
    "a tenant that keeps nothing": lambda p: setattr(p.conn, "tenant", TenantId("b")),
    "no way known": lambda p: setattr(p.server, "arcus", None),
    "a failed hook": lambda p: p.keeper.spoil(),
    "no notes": lambda p: setattr(p.conn, "server_tls", None),
    **{
        f"{name}": lambda p, name=name, value=value: setattr(p.conn.server_tls, name, value)  # type: ignore[misc]
        for name, value in (
            ("verify", "upstream_cert_expired: x"), ("action", "allow"), ("causes", ("upstream_cert_expired",)),
            ("completed", True), ("asked_certificate", True), ("presented_sha256", "ab"), ("error", "alert"),
        )
    },
}  # fmt: skip


@pytest.mark.security
@pytest.mark.parametrize("what", SPEAKS_AGAINST)
async def test_tls_12_what_speaks_against_it(idle: IdleServers, what: str) -> None:
    place = Place(idle)
    SPEAKS_AGAINST[what](place)
    assert not place.leave()
    assert len(idle) == 0


@pytest.mark.security
async def test_tls_12_who_may_say_who_we_are_says_it_for_one_client(idle: IdleServers) -> None:
    place, context = Place(idle), SSL.Context(SSL.TLS_METHOD)
    trustme.CA().issue_cert("me@example.test").configure_cert(context)
    tls = SSL.Connection(context)
    tls.set_app_data(place.tls.get_app_data())
    place.side = TlsSide(place.server, tls, place.conn, towards_client=False)
    assert not place.leave()


async def test_tls_12_one_that_was_not_used_waits_on_from_when_it_began_to(idle: IdleServers) -> None:
    clock = cast(ManualClock, vars(idle)["_clock"])
    assert Place(idle).leave()
    for _ in range(2):
        clock.advance(4.0)
        taker = Place(idle)
        context = Context(taker.client, EAGER)  # type: ignore[arg-type]
        context.server.address = ("o.test", 443)
        side = taker.keeper.take(taker.client, context)
        assert side is not None
        taker.server, taker.side = cast(TaskServer, side.conn), side
        assert taker.leave()
    clock.advance(2.0)
    idle.check_deadline(0.0)
    assert idle.dropped == {"idle": 1}


async def test_tls_12_a_failure_of_ours_leaves_it_to_be_closed(idle: IdleServers, caplog: pytest.LogCaptureFixture) -> None:
    place = Place(idle)
    place.tls.set_app_data(None)
    with caplog.at_level(logging.ERROR):
        assert not place.leave()
    assert "is not kept" in caplog.text
    assert place.server in place.transports
