"""Both TLS sides in one step: real OpenSSL connections on either end, an echo in the place of HTTP."""

from contextlib import suppress

import pytest
import trustme
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy import commands, context, events, layer, tunnel
from mitmproxy.proxy.layers import tls
from OpenSSL import SSL

from appliance.domain.facts import HelloFacts
from appliance.engine.inline_tls import InlineTls, inlined
from appliance.engine.layers import ClientTls
from appliance.engine.options import EAGER

HELLO = HelloFacts("example.test", ("http/1.1",), (772,), has_ech=False, ja3="", ja4="")


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

    def __init__(self, version: int = SSL.TLS1_3_VERSION) -> None:
        self.ctx = context.Context(
            Client(peername=("192.0.2.1", 1), sockname=("192.0.2.2", 2), timestamp_start=1.0, state=ConnectionState.OPEN),
            EAGER,  # type: ignore[arg-type]
        )
        self.ctx.server = Server(address=("example.test", 443))
        self.ctx.server.state = ConnectionState.OPEN
        self.client, ours_to_client = _pair(version)
        ours_to_server, self.server = _pair(version)
        self.stack = tls.ServerTLSLayer(self.ctx)
        inner = self.stack.child_layer = ClientTls(self.ctx, HELLO, connect_first=True)
        self.echo = inner.child_layer = Echo(self.ctx)
        for side, conn in ((self.stack, ours_to_server), (inner, ours_to_client)):
            side.tls, side.tunnel_state, side.conn.timestamp_tls_setup = conn, tunnel.TunnelState.OPEN, 1.0
        self.inner = inner
        self.top = InlineTls(self.stack, inner, self.echo)  # type: ignore[arg-type]
        self.raw: list[tuple[Connection, bytes]] = []

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


def test_the_layers_go_on_encrypting_after_they_took_over() -> None:
    scene = Scene()
    scene.feed(events.ConnectionClosed(scene.ctx.server))
    assert scene.closed == [scene.ctx.server]
    scene.from_client(b"more")
    assert _read(scene.server) == b"more"
    assert all(b"more" not in raw for _, raw in scene.raw)


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


def test_only_a_stack_at_rest_with_http_inside_is_taken() -> None:
    scene = Scene()
    assert inlined(scene.stack) is None  # an echo is no HTTP
    assert inlined(scene.echo) is None
    scene.inner.tunnel_state = tunnel.TunnelState.ESTABLISHING
    assert inlined(scene.stack) is None
