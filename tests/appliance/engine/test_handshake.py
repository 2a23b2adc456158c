"""Both handshakes of an intercepted connection: real OpenSSL on either end, hooks that tell what they were asked."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest
import trustme
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from appliance.domain.facts import ClientFacts, HelloFacts
from appliance.domain.notes import ConnNotes, TlsNotes
from appliance.engine.handshake import CLOSED, CLOSED_EARLY, handshakes, readable
from appliance.engine.inline_tls import InlineTls
from appliance.engine.options import EAGER
from appliance.engine.tls_side import TlsSide, failure_text

HELLO = HelloFacts("example.test", ("http/1.1",), (772,), has_ech=False, ja3="", ja4="")
CA = trustme.CA()
LEAF = CA.issue_cert("example.test")


def _served() -> SSL.Connection:
    context = SSL.Context(SSL.TLS_METHOD)
    LEAF.configure_cert(context)
    context.set_alpn_select_callback(lambda _, offered: offered[0])
    connection = SSL.Connection(context)
    connection.set_accept_state()
    return connection


def _asking(*, trusts: bool = True) -> SSL.Connection:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_verify(SSL.VERIFY_PEER, lambda _c, _x, _code, _depth, ok: bool(ok))
    if trusts:
        CA.configure_trust(context)
    connection = SSL.Connection(context)
    connection.set_tlsext_host_name(b"example.test")
    connection.set_alpn_protos([b"http/1.1"])
    connection.set_connect_state()
    return connection


class Hooks:
    """``fail``: the hook that fails; ``refuses``: what is found out right after the server's handshake."""

    def __init__(self, *, fail: str = "", refuses: str = "", trusts: bool = True) -> None:
        self.fail, self.refuses, self.trusts = fail, refuses, trusts

    def __call__(self, name: str, data: TlsData) -> None:
        if name == self.fail:
            raise asyncio.CancelledError
        if name == "tls_start_server":
            data.ssl_conn = _asking(trusts=self.trusts)
        elif name == "tls_start_client":
            data.ssl_conn = _served()
        elif name == "tls_established_server" and self.refuses:
            data.conn.error = self.refuses


class FakeWire:
    """Two peers in memory. ``told`` is what happened, in order; ``sent`` the octets for each side."""

    def __init__(self, hooks: Callable[[str, TlsData], None], *, client: SSL.Connection | None = None) -> None:
        self.client = Client(peername=("192.0.2.1", 1), sockname=("192.0.2.2", 2), state=ConnectionState.OPEN)
        self.context = Context(self.client, EAGER)  # type: ignore[arg-type]
        self.conn = ConnNotes(ClientFacts("192.0.2.1", 1, "explicit"), started=1.0)
        self.conn.client_tls = TlsNotes()
        self.peers: dict[Connection, SSL.Connection] = {
            self.client: client or _asking(), self.context.server: _served()
        }  # fmt: skip
        self.hooks = hooks
        self.told: list[str] = []
        self.sent: dict[Connection, bytes] = {}
        self.unreachable = self.early = False
        self.silent: Connection | None = None
        self.top: InlineTls | None = None
        self.upstream: Server | None = None

    def take(self) -> TlsSide | None:
        return None

    async def connect(self, server: Server) -> bool:
        self.told.append("connect")
        if self.unreachable:
            server.error = "upstream_unreachable"
            return False
        server.state = ConnectionState.OPEN
        return True

    async def receive(self, connection: Connection) -> bytes:
        if connection is self.silent:
            return b""
        peer = self.peers[connection]
        with suppress(SSL.Error):  # waiting, or an alert that it has to send
            peer.do_handshake()
        try:
            return peer.bio_read(65_536)
        except SSL.WantReadError:
            return b""

    def transmit(self, connection: Connection, data: bytes) -> None:
        if data:
            self.told.append(f"to {'client' if connection is self.client else 'server'}")
            self.sent[connection] = self.sent.get(connection, b"") + data
            self.peers[connection].bio_write(data)

    async def hook(self, name: str, data: TlsData) -> None:
        self.told.append(name)
        self.hooks(name, data)

    def client_gone(self) -> bool:
        return self.early

    def drop(self, server: Server) -> None:
        self.told.append("drop")
        server.state = ConnectionState.CLOSED

    def begin(self, top: InlineTls, server: Server | None) -> None:
        self.told.append("begin")
        self.top, self.upstream = top, server

    def run(self, *, eager: bool = True) -> bool:
        return asyncio.run(handshakes(self, HELLO, lambda _data, _first: None, eager=eager))


def test_the_server_comes_first_and_the_hooks_in_their_order() -> None:
    wire = FakeWire(Hooks())
    assert wire.run()
    assert wire.told == [
        "connect", "tls_start_server", "to server", "tls_established_server", "to server",
        "tls_start_client", "to client", "tls_established_client", "begin",
    ]  # fmt: skip
    server = wire.context.server
    assert wire.upstream is server
    assert (wire.client.tls, wire.client.sni, wire.client.alpn_offers) == (True, "example.test", [b"http/1.1"])
    assert (server.alpn, server.tls_version, len(server.certificate_list)) == (b"http/1.1", "TLSv1.3", 1)
    assert wire.client.alpn == b"http/1.1"
    assert server.tls_established
    assert wire.client.tls_established


def test_a_lazy_connection_asks_no_server() -> None:
    wire = FakeWire(Hooks())
    assert wire.run(eager=False)
    assert wire.told == ["tls_start_client", "to client", "tls_established_client", "begin"]
    assert wire.upstream is None
    assert wire.context.server.tls  # whoever opens it later does so with TLS


def test_a_server_that_cannot_be_reached_leaves_its_error_for_the_page() -> None:
    wire = FakeWire(Hooks())
    wire.unreachable = True
    assert wire.run()
    assert "tls_start_server" not in wire.told
    assert (wire.context.server.error, wire.upstream) == ("upstream_unreachable", None)


def test_a_server_that_is_not_believed_is_cut_off_and_the_client_is_answered() -> None:
    wire = FakeWire(Hooks(trusts=False))
    assert wire.run()
    server = wire.context.server
    assert wire.told[:5] == ["connect", "tls_start_server", "to server", "tls_failed_server", "drop"]
    assert (server.error or "").startswith("Certificate verify failed: ")
    assert not server.tls_established
    assert wire.upstream is None


def test_what_is_found_out_after_the_servers_handshake_ends_it_before_our_finished() -> None:
    """Our certificate, if there is one, goes out with it."""
    wire = FakeWire(Hooks(refuses="upstream_cert_revoked: x"))
    assert wire.run()
    assert wire.told[:6] == [
        "connect", "tls_start_server", "to server", "tls_established_server", "tls_failed_server", "drop",
    ]  # fmt: skip
    assert wire.context.server.error == "upstream_cert_revoked: x"
    assert not wire.context.server.tls_established


def test_a_server_that_hangs_up_has_failed() -> None:
    wire = FakeWire(Hooks())
    wire.silent = wire.context.server
    assert wire.run()
    assert wire.context.server.error == CLOSED
    assert "tls_failed_server" in wire.told


def test_a_client_that_refuses_ends_the_connection_with_the_server() -> None:
    wire = FakeWire(Hooks(), client=_asking(trusts=False))
    assert not wire.run()
    assert wire.told[-2:] == ["tls_failed_client", "drop"]
    assert "begin" not in wire.told
    assert wire.client.error == "tlsv1 alert unknown ca"
    assert wire.client.state is ConnectionState.CLOSED


def test_a_client_without_a_common_version_gets_the_alert_that_says_so() -> None:
    old = SSL.Context(SSL.TLS_METHOD)
    old.set_min_proto_version(SSL.TLS1_1_VERSION)
    old.set_max_proto_version(SSL.TLS1_1_VERSION)
    old.set_cipher_list(b"ALL:@SECLEVEL=0")
    client = SSL.Connection(old)
    client.set_connect_state()
    wire = FakeWire(Hooks(), client=client)
    assert not wire.run()
    assert wire.conn.client_tls is not None
    assert wire.conn.client_tls.alert_sent == "protocol_version"
    assert wire.told[-3:] == ["to client", "tls_failed_client", "drop"]


@pytest.mark.parametrize("early", [True, False])
def test_a_client_that_hangs_up_is_told_apart_by_when(early: bool) -> None:
    """Before it was answered, which says nothing about the leaf, or afterwards."""
    wire = FakeWire(Hooks())
    wire.early = early
    if not early:
        wire.peers[wire.client] = _asking()
        original = wire.receive

        async def once(connection: Connection) -> bytes:
            data = await original(connection)
            if connection is wire.client:
                wire.silent = wire.client
            return data

        wire.receive = once  # type: ignore[method-assign]
    assert not wire.run()
    assert wire.client.error == (CLOSED_EARLY if early else CLOSED)
    assert ("to client" in wire.told) is not early


@pytest.mark.parametrize("name", ["tls_start_server", "tls_established_server", "tls_start_client", "tls_established_client"])
def test_a_failed_hook_closes_the_server_and_begins_nothing(name: str) -> None:
    wire = FakeWire(Hooks(fail=name))
    with pytest.raises(asyncio.CancelledError):
        wire.run()
    assert wire.told[-2:] == [name, "drop"]
    assert wire.top is None


def test_without_a_connection_from_a_hook_nothing_goes_on() -> None:
    wire = FakeWire(lambda _name, _data: None)
    with pytest.raises(RuntimeError):
        wire.run()
    assert wire.told == ["connect", "tls_start_server", "drop"]


def test_nothing_of_the_client_goes_to_the_server_before_both_handshakes_are_over() -> None:
    wire = FakeWire(Hooks())
    assert wire.run()
    client = wire.peers[wire.client]
    client.do_handshake()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    before = wire.sent[wire.context.server]
    assert wire.top is not None
    list(wire.top.handle_event(events.DataReceived(wire.client, client.bio_read(65_536))))
    assert wire.sent[wire.context.server] == before


@pytest.mark.parametrize(
    ("reason", "data", "text"),
    [
        ("tlsv1 alert unknown ca", b"", "tlsv1 alert unknown ca"),
        ("wrong version number", b"220 hello", "The remote server does not speak TLS."),
        ("wrong version number", b"\x16\xfe\0", "OpenSSL Error([('SSL routines', '', 'wrong version number')])"),
        ("no shared cipher", b"", "OpenSSL Error([('SSL routines', '', 'no shared cipher')])"),
    ],
)
def test_errors_are_told_as_mitmproxys_layers_tell_them(reason: str, data: bytes, text: str) -> None:
    assert failure_text(SSL.Error([("SSL routines", "", reason)]), _asking(), data) == text


@pytest.mark.parametrize("error", [SSL.SysCallError(-1, "Unexpected EOF"), SSL.Error([]), SSL.Error()])
def test_errors_without_a_queue_are_told_whole(error: SSL.Error) -> None:
    assert failure_text(error, _asking(), b"") == f"OpenSSL {error!r}"


@pytest.mark.security
def test_a_certificate_of_a_version_that_does_not_exist_is_not_shown() -> None:
    whole = trustme.CA().issue_cert("a.test").cert_chain_pems[0].bytes()
    der = ssl.PEM_cert_to_DER_cert(whole.decode())
    at = der.index(b"\xa0\x03\x02\x01\x02") + 4
    assert readable(der) is not None
    assert readable(der[:at] + b"\x07" + der[at + 1 :]) is None
