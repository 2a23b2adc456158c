"""mitmproxy's TLS layers with what they lack: the alert is sent, and kept when it is received late, close_notify is sent, the
ClientHello is not parsed twice."""

from collections.abc import Generator
from typing import Any

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, context, events, layer, tunnel
from mitmproxy.proxy.layers import tls
from OpenSSL import SSL

from appliance.domain.facts import HelloFacts
from appliance.domain.notes import ConnNotes
from appliance.domain.tls_failure import ALERTS, alert_in, plain_error

type Commands[T] = Generator[commands.Command, Any, T]


class LateAlerts(tls.TLSLayer):
    """Keeps the alert that comes after the handshake, and closes the connection (RFC 8446 section 6.2). With TLS 1.3 the side
    that sends its Finished first learns only then that its certificate, or the lack of one, is not accepted. The stock
    layer writes a line to its log, waits for an end that need not come, and fails when it has something to send."""

    over = False
    """An alert has ended the session."""

    def receive_data(self, data: bytes) -> Commands[None]:
        stock = super().receive_data(data)
        answer: Any = None
        while True:
            try:
                command = stock.send(answer)
            except StopIteration:
                break
            if isinstance(command, commands.Log):
                note_alert(self, command.message)
            answer = yield command
        if self.over and self.conn.connected:
            yield from self._end()

    def send_data(self, data: bytes) -> Commands[None]:
        if not self.over:
            yield from super().send_data(data)

    def _end(self) -> Commands[None]:
        self.conn.state = ConnectionState.CLOSED
        yield from self.event_to_child(events.ConnectionClosed(self.conn))
        yield commands.CloseConnection(self.conn)


def note_alert(side: LateAlerts, text: str) -> None:
    """Put an alert that was received after the handshake into the notes of its side; anything else changes nothing."""
    error = plain_error(text)
    if not alert_in(error):
        return
    side.over = True
    conn: ConnNotes = side.context.client.arcus  # type: ignore[attr-defined]
    notes = conn.client_tls if side.conn is side.context.client else conn.server_tls
    if notes is not None and not notes.error:
        notes.error = error


class ServerTls(LateAlerts, tls.ServerTLSLayer):
    """TLS towards the server. What a hook learns right after the handshake, such as that the certificate was revoked, may
    still end it: the hook writes an error on the connection, and nothing of the client's goes there."""

    def receive_handshake_data(self, data: bytes) -> Commands[tuple[bool, str | None]]:
        done, error = yield from super().receive_handshake_data(data)
        if done and self.conn.error:
            self.conn.timestamp_tls_setup = None  # not established: no leaf follows this server's certificate
            return False, self.conn.error
        return done, error

    def receive_data(self, data: bytes) -> Commands[None]:
        if self.tunnel_state is not tunnel.TunnelState.ESTABLISHING or not self.conn.error:
            yield from super().receive_data(data)


class ClientTls(LateAlerts, tls.ClientTLSLayer):
    """TLS towards the client. The ClientHello is already known (``engine.clienthello``), so the stock parser is not run.

    ``connect_first``: open the connection to the server before answering, so that the leaf can follow the origin's.
    """

    def __init__(self, ctx: context.Context, hello: HelloFacts, connect_first: bool) -> None:
        super().__init__(ctx)
        self._connect_first = connect_first
        self.conn.sni = hello.sni or None
        self.conn.alpn_offers = [name.encode("latin-1", "replace") for name in hello.alpn]

    def receive_handshake_data(self, data: bytes) -> Commands[tuple[bool, str | None]]:
        if not self.client_hello_parsed:
            self.client_hello_parsed = True
            if self._connect_first and not self.context.server.tls_established:
                # A failure is kept in server.error, and becomes the page that the first request gets.
                yield from self.start_server_tls()
            yield from self.start_tls()
            if not self.conn.connected or not self.tls:
                return False, "connection closed early"
        return (yield from tls.TLSLayer.receive_handshake_data(self, data))

    def on_handshake_error(self, err: str) -> Commands[None]:
        if self.tls:
            # OpenSSL has queued the alert that tells the client why; stock mitmproxy closes without sending it.
            for command in self.tls_interact():
                self._note_sent(command)
                yield command
        yield from super().on_handshake_error(err)

    def _note_sent(self, command: commands.Command) -> None:
        notes = self.context.client.arcus.client_tls  # type: ignore[attr-defined]
        if notes is not None and isinstance(command, commands.SendData):
            notes.alert_sent = plain_alert(command.data)

    def send_close(self, command: commands.CloseConnection) -> Commands[None]:
        # Without close_notify (RFC 8446 section 6.1) a client cannot tell an end from a cut, and OpenSSL 3 reports an error.
        if self.tls and self.conn.timestamp_tls_setup and not isinstance(command, commands.CloseTcpConnection):
            try:
                self.tls.shutdown()
            except SSL.Error:
                pass  # the peer is already gone, and so is the need to tell it
            else:
                yield from self.tls_interact()
        yield from super().send_close(command)


def plain_alert(data: bytes) -> str:
    """The name of the alert at the end of what is sent; empty when it is encrypted, or there is none (RFC 8446 section 5.1)."""
    record = data[-7:]
    is_alert = len(record) == 7 and record[:2] == b"\x15\x03" and record[3:5] == b"\0\2"
    return ALERTS.get(record[6], f"alert_{record[6]}") if is_alert else ""


def intercepting_stack(ctx: context.Context, hello: HelloFacts, connect_first: bool) -> layer.Layer:
    """Server TLS around client TLS: after both handshakes a NextLayer asks for the application's protocol."""
    server = ServerTls(ctx)
    server.child_layer = ClientTls(ctx, hello, connect_first)
    return server
