"""Both TLS sides of an intercepted connection in one step, once their handshakes are over.

mitmproxy's two TLS layers pass each event and each command through eight generators: 40 % of the CPU of a small request
(measured). Here octets are decrypted, given to the HTTP layer, and what it sends during one event is encrypted at once.
Only the usual case is handled: at an end, an alert or an error, the layers take over again, with the same OpenSSL
connections, and decide as they always did.
"""

from collections.abc import Generator, Iterator
from contextlib import suppress

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, layer, tunnel
from mitmproxy.proxy.layers import tls
from OpenSSL import SSL

from appliance.engine.http.layer import StrictHttpLayer
from appliance.engine.layers import ClientTls, LateAlerts, ServerTls, note_alert

RECORD = 16_384
"""The most that one ``SSL_read`` returns: the plaintext of one record (RFC 8446 section 5.1)."""
_OVERHEAD = 4096
"""Room beside the plaintext for what the records add (at most 1 in 60), and for a key update."""

type Commands = Generator[commands.Command]


class InlineTls:
    """Stands for ``stack``, server TLS around client TLS around HTTP, in the connection handler."""

    def __init__(self, stack: ServerTls, client: ClientTls, http: StrictHttpLayer) -> None:
        self._stack = stack
        self._http = http
        self._sides: dict[Connection, LateAlerts] = {client.conn: client, stack.conn: stack}
        self._given_back = False

    def handle_event(self, event: events.Event) -> Commands:
        """What the stack would command."""
        if self._given_back:
            return self._stack.handle_event(event)
        side = self._sides.get(event.connection) if isinstance(event, events.ConnectionEvent) else None
        if side is None:
            return self._through_http(event)
        return self._received(side, event) if isinstance(event, events.DataReceived) else self._give_back(event)

    def _received(self, side: LateAlerts, event: events.DataReceived) -> Commands:
        plain, usual = _decrypt(side, event.data)
        if answer := _outgoing(side.tls, 0):  # a key update is answered even when nothing else is to be said
            yield commands.SendData(event.connection, answer)
        if plain:
            yield from self._through_http(events.DataReceived(event.connection, plain))
        if not usual:
            yield from self._give_back(events.DataReceived(event.connection, b""))

    def _give_back(self, event: events.Event) -> Commands:
        """The layers go on from here. OpenSSL tells them again what it told us: no octet is waiting, the rest is its state."""
        self._given_back = True
        yield from self._stack.handle_event(event)

    def _through_http(self, event: events.Event) -> Commands:
        waiting: dict[Connection, list[bytes]] = {}
        for command in self._http.handle_event(event):
            if isinstance(command, commands.ConnectionCommand) and command.connection in self._sides:
                if isinstance(command, commands.SendData):
                    waiting.setdefault(command.connection, []).append(command.data)
                    continue
                yield from self._encrypted(waiting)
                yield from self._closing(command)
            else:
                yield command
        if waiting:
            yield from self._encrypted(waiting)

    def _encrypted(self, waiting: dict[Connection, list[bytes]]) -> Iterator[commands.Command]:
        for connection, pieces in waiting.items():
            if data := _encrypt(self._sides[connection].tls, pieces[0] if len(pieces) == 1 else b"".join(pieces)):
                yield commands.SendData(connection, data)
        waiting.clear()

    def _closing(self, command: commands.ConnectionCommand) -> Commands:
        """The layer's own farewell. Nothing else may be commanded: to open would mean to go on without TLS."""
        if not isinstance(command, commands.CloseConnection):
            raise RuntimeError(f"unexpected on an established TLS connection: {command}")
        yield from self._sides[command.connection].send_close(command)


def inlined(top: layer.Layer | InlineTls) -> InlineTls | None:
    """``top`` in one step; None when it is not the stack with both handshakes done, HTTP inside, and nothing pending."""
    if not isinstance(top, ServerTls):
        return None
    client = top.child_layer
    if not isinstance(client, ClientTls) or not _at_rest(top) or not _at_rest(client):
        return None
    http = getattr(client.child_layer, "layer", None)
    return InlineTls(top, client, http) if isinstance(http, StrictHttpLayer) else None


def _at_rest(side: tls.TLSLayer) -> bool:
    return side.tunnel_state is tunnel.TunnelState.OPEN and not side._paused and not side._event_queue


def _decrypt(side: LateAlerts, data: bytes) -> tuple[bytes, bool]:
    """The plaintext, and whether there is nothing to it but plaintext."""
    conn = side.tls
    if data:
        conn.bio_write(data)
    pieces: list[bytes] = []
    usual = True
    try:
        while True:
            pieces.append(conn.recv(RECORD))
    except SSL.WantReadError:
        pass
    except SSL.Error as error:  # also close_notify
        usual = False
        note_alert(side, str(error))  # the library names an alert once only
    return pieces[0] if len(pieces) == 1 else b"".join(pieces), usual


def _encrypt(conn: SSL.Connection, data: bytes) -> bytes:
    with suppress(SSL.ZeroReturnError, SSL.SysCallError):  # as in the layers: the peer has ended, and takes nothing more
        conn.sendall(data)
    return _outgoing(conn, len(data))


def _outgoing(conn: SSL.Connection, expected: int) -> bytes:
    """Everything that OpenSSL has for the wire."""
    size = expected + expected // 60 + _OVERHEAD
    pieces = []
    try:
        while True:
            pieces.append(conn.bio_read(size))
            if len(pieces[-1]) < size:
                break
    except SSL.WantReadError:
        pass
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
