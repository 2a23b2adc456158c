"""mitmproxy's TLS layers with what they lack: the alert is sent, close_notify is sent, the ClientHello is not parsed twice."""

from collections.abc import Generator
from typing import Any

from mitmproxy.proxy import commands, context, layer
from mitmproxy.proxy.layers import tls
from OpenSSL import SSL

from appliance.domain.facts import HelloFacts

type Commands[T] = Generator[commands.Command, Any, T]


class ClientTls(tls.ClientTLSLayer):
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
            yield from self.tls_interact()
        yield from super().on_handshake_error(err)

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


def intercepting_stack(ctx: context.Context, hello: HelloFacts, connect_first: bool) -> layer.Layer:
    """Server TLS around client TLS: after both handshakes a NextLayer asks for the application's protocol."""
    server = tls.ServerTLSLayer(ctx)
    server.child_layer = ClientTls(ctx, hello, connect_first)
    return server
