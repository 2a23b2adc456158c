"""mitmproxy's TLS layer for servers that HTTP opens by itself, with what it lacks: an alert that comes late is kept.

The connection that a client's tunnel begins with has ``engine.handshake`` instead.
"""

from collections.abc import Generator
from typing import Any

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, tunnel
from mitmproxy.proxy.layers import tls

from appliance.domain.notes import ConnNotes
from appliance.engine.tls_side import note_alert

type Commands[T] = Generator[commands.Command, Any, T]


class ServerTls(tls.ServerTLSLayer):
    """TLS towards the server.

    What a hook learns right after the handshake, such as that the certificate was revoked, may still end it: the hook writes
    an error on the connection, and nothing of the client's goes there. An alert after the handshake closes the connection
    (RFC 8446 section 6.2): with TLS 1.3 a server says only then that it does not accept our certificate, or the lack of one.
    The stock layer writes a line to its log, waits for an end that need not come, and fails when it has something to send.
    """

    over = False
    """An alert has ended the session."""

    def receive_handshake_data(self, data: bytes) -> Commands[tuple[bool, str | None]]:
        done, error = yield from super().receive_handshake_data(data)
        if done and self.conn.error:
            self.conn.timestamp_tls_setup = None  # not established
            return False, self.conn.error
        return done, error

    def receive_data(self, data: bytes) -> Commands[None]:
        if self.tunnel_state is tunnel.TunnelState.ESTABLISHING and self.conn.error:
            return
        stock = super().receive_data(data)
        answer: Any = None
        while True:
            try:
                command = stock.send(answer)
            except StopIteration:
                break
            if isinstance(command, commands.Log):
                self._note(command.message)
            answer = yield command
        if self.over and self.conn.connected:
            yield from self._end()

    def send_data(self, data: bytes) -> Commands[None]:
        if not self.over:
            yield from super().send_data(data)

    def _note(self, text: str) -> None:
        conn: ConnNotes = self.context.client.arcus  # type: ignore[attr-defined]
        self.over = note_alert(conn.server_tls, text) or self.over

    def _end(self) -> Commands[None]:
        self.conn.state = ConnectionState.CLOSED
        yield from self.event_to_child(events.ConnectionClosed(self.conn))
        yield commands.CloseConnection(self.conn)
