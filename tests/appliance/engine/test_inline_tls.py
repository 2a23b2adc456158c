"""Both TLS sides in one step: real OpenSSL connections on either end, an echo in the place of HTTP."""

from contextlib import suppress

import pytest
import trustme
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy import commands, context, events, layer
from OpenSSL import SSL

from appliance.domain.facts import ClientFacts
from appliance.domain.notes import ConnNotes, TlsNotes
from appliance.engine.inline_tls import InlineTls
from appliance.engine.options import EAGER
from appliance.engine.tls_side import TlsSide


class Echo(layer.Layer):
    """Sends everything to the other side; does what it is told by one octet."""

    def __init__(self, ctx: context.Context) -> None:
        super().__init__(ctx)
        self.seen: list[events.Event] = []

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        self.seen.append(event)
        if isinstance(event, events.DataReceived):
            other = self.context.server if event.connection is self.context.client else self.context.client
            if event.data == b"close":
                yield commands.SendData(event.connection, b"bye")
                yield commands.CloseConnection(event.connection)
            elif event.data == b"open":
                yield commands.OpenConnection(self.context.server)
            else:
                yield commands.SendData(other, event.data[:1])
                yield commands.SendData(other, event.data[1:])


class Scene:
    """``client`` and ``server`` are the peers' ends; ``top`` runs between them."""

    def __init__(self, version: int = SSL.TLS1_3_VERSION, *, known: bool = True) -> None:
        self.ctx = context.Context(
            Client(peername=("192.0.2.1", 1), sockname=("192.0.2.2", 2), timestamp_start=1.0, state=ConnectionState.OPEN),
            EAGER,  # type: ignore[arg-type]
        )
        self.ctx.server = Server(address=("example.test", 443))
        self.ctx.server.state = ConnectionState.OPEN
        self.client, ours_to_client = _pair(version)
        ours_to_server, self.server = _pair(version)
        self.notes = ConnNotes(ClientFacts("192.0.2.1", 1, "192.0.2.2", 2, "explicit"), started=1.0)
        self.notes.client_tls, self.notes.server_tls = TlsNotes(), TlsNotes()
        self.echo = Echo(self.ctx)
        self.known = known
        self.asked: list[tuple[bytes, bool]] = []
        self.top = InlineTls(
            TlsSide(self.ctx.client, ours_to_client, self.notes, towards_client=True),
            TlsSide(self.ctx.server, ours_to_server, self.notes, towards_client=False),
            self.choose,
        )
        self.raw: list[tuple[Connection, bytes]] = []
        self.feed(events.Start())
        self.echo.seen.clear()

    def choose(self, data: bytes, server_first: bool) -> layer.Layer | None:
        """By ALPN when that is ``known``, else the word for it is ``echo``."""
        self.asked.append((data, server_first))
        return self.echo if self.known or data == b"echo" else None

    def feed(self, event: events.Event) -> list[commands.Command]:
        """What was commanded; data for the wire is handed to the peers."""
        found = list(self.top.handle_event(event))
        for command in found:
            if isinstance(command, commands.SendData):
                self.raw.append((command.connection, command.data))
                (self.client if command.connection is self.ctx.client else self.server).bio_write(command.data)
        return found

    def from_client(self, data: bytes) -> list[commands.Command]:
        self.client.sendall(data)
        return self.feed(events.DataReceived(self.ctx.client, _wire(self.client)))

    @property
    def seen(self) -> list[bytes]:
        return [event.data for event in self.echo.seen if isinstance(event, events.DataReceived)]

    @property
    def closed(self) -> list[Connection]:
        return [event.connection for event in self.echo.seen if isinstance(event, events.ConnectionClosed)]


def _wire(conn: SSL.Connection) -> bytes:
    out = b""
    while True:
        try:
            out += conn.bio_read(65_536)
        except SSL.WantReadError:
            return out


def _read(conn: SSL.Connection) -> bytes:
    out = b""
    while True:
        try:
            out += conn.recv(65_536)
        except SSL.WantReadError:
            return out


def _pair(version: int) -> tuple[SSL.Connection, SSL.Connection]:
    """Client and server after their handshake."""
    served, asking = SSL.Context(SSL.TLS_METHOD), SSL.Context(SSL.TLS_METHOD)
    trustme.CA().issue_cert("example.test").configure_cert(served)
    for each in (served, asking):
        each.set_max_proto_version(version)
    client, server = SSL.Connection(asking), SSL.Connection(served)
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(4):
        for conn, peer in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):  # the next round brings what it waits for
                conn.do_handshake()
            if data := _wire(conn):
                peer.bio_write(data)
    assert _read(client) == b""  # session tickets
    return client, server


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
@pytest.mark.parametrize("size", [1, 2, 16_384, 16_385, 1_000_000])
def test_octets_pass_encrypted_in_both_directions_one_write_for_each_event(version: int, size: int) -> None:
    scene, body = Scene(version), b"x" * size
    commanded = scene.from_client(body)
    assert [type(each) for each in commanded] == [commands.SendData]
    assert _read(scene.server) == body
    scene.server.sendall(b"answer")
    scene.feed(events.DataReceived(scene.ctx.server, _wire(scene.server)))
    assert _read(scene.client) == b"answer"
    assert all(b"answer" not in raw and b"x" * 16 not in raw for _, raw in scene.raw)


def test_half_a_record_is_no_event() -> None:
    scene = Scene()
    scene.client.sendall(b"hello")
    wire = _wire(scene.client)
    assert scene.feed(events.DataReceived(scene.ctx.client, wire[:7])) == []
    assert scene.seen == []
    scene.feed(events.DataReceived(scene.ctx.client, wire[7:]))
    assert scene.seen == [b"hello"]


def test_what_comes_with_close_notify_is_passed_before_the_end() -> None:
    scene = Scene()
    scene.server.sendall(b"last")
    scene.server.shutdown()
    scene.feed(events.DataReceived(scene.ctx.server, _wire(scene.server)))
    assert (scene.seen, scene.closed) == ([b"last"], [scene.ctx.server])
    assert not scene.ctx.server.state & ConnectionState.CAN_READ
    # the end of the stream that follows is not a second end
    scene.feed(events.ConnectionClosed(scene.ctx.server))
    assert scene.closed == [scene.ctx.server]


def test_after_an_end_of_one_side_the_other_goes_on_encrypted() -> None:
    scene = Scene()
    scene.feed(events.ConnectionClosed(scene.ctx.server))
    assert scene.closed == [scene.ctx.server]
    scene.from_client(b"more")
    assert _read(scene.server) == b"more"
    assert all(b"more" not in raw for _, raw in scene.raw)


def test_octets_after_close_notify_are_no_second_end() -> None:
    scene = Scene()
    scene.server.shutdown()
    scene.feed(events.DataReceived(scene.ctx.server, _wire(scene.server)))
    scene.feed(events.DataReceived(scene.ctx.server, b"\x17\x03\x03\0\1x"))
    assert scene.closed == [scene.ctx.server]


def test_an_alert_after_the_handshake_is_noted_and_ends_the_connection() -> None:
    """RFC 8446 section 6.2: with TLS 1.3 a server says only now that it does not accept our certificate."""
    scene = Scene(SSL.TLS1_2_VERSION)
    scene.client.renegotiate()  # what we answer with no_renegotiation is fatal for this peer, which says so
    with suppress(SSL.WantReadError):
        scene.client.do_handshake()
    scene.feed(events.DataReceived(scene.ctx.client, _wire(scene.client)))
    with suppress(SSL.Error):
        scene.client.do_handshake()
    commanded = scene.feed(events.DataReceived(scene.ctx.client, _wire(scene.client)))
    assert [type(each) for each in commanded] == [commands.CloseConnection]
    assert (scene.closed, scene.ctx.client.state) == ([scene.ctx.client], ConnectionState.CLOSED)
    assert scene.notes.client_tls is not None
    assert "alert" in scene.notes.client_tls.error
    # nothing more is said on a session that is over, and its end is told once
    scene.server.sendall(b"answer")
    sent = scene.feed(events.DataReceived(scene.ctx.server, _wire(scene.server)))
    assert [each for each in sent if isinstance(each, commands.SendData)] == []


def test_without_alpn_the_first_octets_decide_and_nothing_is_lost() -> None:
    scene = Scene(known=False)
    assert scene.from_client(b"ec") == []
    assert scene.seen == []
    scene.from_client(b"ho")
    assert scene.seen == [b"ec", b"ho"]
    assert isinstance(scene.echo.seen[0], events.Start)
    assert _read(scene.server) == b"echo"
    assert scene.asked == [(b"", False), (b"ec", False), (b"echo", False)]


def test_that_the_server_speaks_first_is_told_while_nothing_is_known() -> None:
    scene = Scene(known=False)
    scene.server.sendall(b"220 hello")
    scene.feed(events.DataReceived(scene.ctx.server, _wire(scene.server)))
    assert scene.asked[-1] == (b"", True)


def test_a_client_that_leaves_before_its_protocol_is_known_ends_it_all() -> None:
    scene = Scene(known=False)
    commanded = scene.feed(events.ConnectionClosed(scene.ctx.client))
    assert [type(each) for each in commanded] == [commands.SendData, commands.CloseConnection]
    with pytest.raises(SSL.ZeroReturnError):
        scene.client.recv(100)


def test_an_end_without_close_notify_is_told() -> None:
    scene = Scene()
    scene.feed(events.ConnectionClosed(scene.ctx.client))
    assert scene.closed == [scene.ctx.client]


def test_a_forged_record_gives_no_octets_and_an_alert() -> None:
    scene = Scene()
    scene.client.sendall(b"hello")
    wire = bytearray(_wire(scene.client))
    wire[-1] ^= 1
    commanded = scene.feed(events.DataReceived(scene.ctx.client, bytes(wire)))
    assert scene.seen == []
    assert any(isinstance(each, commands.SendData) for each in commanded)
    with pytest.raises(SSL.Error, match="bad record mac"):
        scene.client.recv(100)


@pytest.mark.security
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
@pytest.mark.parametrize("who", ["client", "server"])
def test_after_a_forged_record_its_side_is_closed_and_the_other_is_served(version: int, who: str) -> None:
    """OpenSSL takes nothing more for it: what was sent there next was an exception of ours, for which both were closed."""
    scene = Scene(version)
    forger, other = (scene.client, scene.server) if who == "client" else (scene.server, scene.client)
    at, opposite = (scene.ctx.client, scene.ctx.server) if who == "client" else (scene.ctx.server, scene.ctx.client)
    forger.sendall(b"hello")
    wire = bytearray(_wire(forger))
    wire[-1] ^= 1
    commanded = scene.feed(events.DataReceived(at, bytes(wire)))
    assert [type(each) for each in commanded] == [commands.SendData, commands.CloseConnection]
    assert scene.closed == [at]
    other.sendall(b"to somebody who is gone")
    assert scene.feed(events.DataReceived(opposite, _wire(other))) == []
    assert scene.seen == [b"to somebody who is gone"]


def test_a_renegotiation_is_answered_at_once_and_not_done() -> None:
    """What OpenSSL says by itself goes out although HTTP has nothing to say."""
    scene = Scene(SSL.TLS1_2_VERSION)
    scene.client.renegotiate()
    with suppress(SSL.WantReadError):
        scene.client.do_handshake()
    commanded = scene.feed(events.DataReceived(scene.ctx.client, _wire(scene.client)))
    assert [type(each) for each in commanded] == [commands.SendData]
    assert scene.seen == []
    with pytest.raises(SSL.Error, match="no renegotiation"):
        scene.client.do_handshake()


def test_a_client_is_sent_close_notify_after_the_last_words() -> None:
    scene = Scene()
    commanded = scene.from_client(b"close")
    assert [type(each) for each in commanded] == [commands.SendData, commands.SendData, commands.CloseConnection]
    assert scene.client.recv(100) == b"bye"
    with pytest.raises(SSL.ZeroReturnError):
        scene.client.recv(100)


def test_opening_a_connection_that_has_tls_is_refused() -> None:
    """The handler would open it without TLS."""
    scene = Scene()
    with pytest.raises(RuntimeError):
        scene.from_client(b"open")


def test_events_of_no_connection_go_to_http() -> None:
    scene = Scene()
    event = events.Wakeup(commands.RequestWakeup(1.0))
    assert scene.feed(event) == []
    assert scene.echo.seen == [event]
