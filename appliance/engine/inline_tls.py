"""Both TLS sides of an intercepted connection in one step, once their handshakes are over, with HTTP in between.

mitmproxy's two TLS layers pass each event and each command through eight generators: 40 % of the CPU of a small request
(measured). Here octets are decrypted, given to the HTTP layer, and what it sends during one event is encrypted at once.
"""

from collections.abc import Callable, Generator, Iterator

from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events, layer

from appliance.engine.http.layer import StrictHttpLayer
from appliance.engine.tls_side import TlsSide

type Commands = Generator[commands.Command]
type ChooseHttp = Callable[[bytes, bool], layer.Layer | None]
"""The HTTP layer by ALPN, or by what the client said first; None: not to be told yet. The flag: the server spoke first."""


class InlineTls:
    """``client`` and ``server`` have done their handshakes; there may be no server yet."""

    def __init__(self, client: TlsSide, server: TlsSide | None, choose: ChooseHttp) -> None:
        self._client = client
        self._sides: dict[Connection, TlsSide] = {side.conn: side for side in (client, server) if side is not None}
        self._choose = choose
        self._http: layer.Layer | None = None
        self._early: list[events.Event] = []
        """What came before the protocol was known; a client that has said 33 octets is understood."""

    def handle_event(self, event: events.Event) -> Commands:
        """What follows from it."""
        side = self._sides.get(event.connection) if isinstance(event, events.ConnectionEvent) else None
        if side is None:
            return self._to_http(event)
        return self._received(side, event.data) if isinstance(event, events.DataReceived) else self._ended(side)

    def dismantle(self) -> None:
        """Nothing follows any more."""
        if isinstance(self._http, StrictHttpLayer):
            self._http.dismantle()
        self._http = None
        self._sides.clear()

    def at_rest(self, server: Connection) -> TlsSide | None:
        """See ``engine.keeping.Resting``."""
        side, http = self._sides.get(server), self._http
        resting = side is not None and side.quiet and isinstance(http, StrictHttpLayer) and http.at_rest(server)
        return side if resting else None

    def _received(self, side: TlsSide, data: bytes) -> Commands:
        told = side.ended or side.over
        plain = side.decrypt(data)
        if answer := side.outgoing():  # a key update is answered even when nothing else is to be said
            yield commands.SendData(side.conn, answer)
        if plain:
            yield from self._to_http(events.DataReceived(side.conn, plain))
        if side.over and side.conn.connected:
            side.conn.state = ConnectionState.CLOSED
            yield from self._to_http(events.ConnectionClosed(side.conn))
            yield commands.CloseConnection(side.conn)
        elif side.ended and not told:
            side.conn.state &= ~ConnectionState.CAN_READ
            yield from self._to_http(events.ConnectionClosed(side.conn))

    def _ended(self, side: TlsSide) -> Commands:
        """The stream's end; after a close_notify it is not told again."""
        if not side.ended:
            side.ended = True
            yield from self._to_http(events.ConnectionClosed(side.conn))

    def _to_http(self, event: events.Event) -> Commands:
        return self._until_known(event) if self._http is None else self._through(self._http, event)

    def _until_known(self, event: events.Event) -> Commands:
        self._early.append(event)
        if isinstance(event, events.ConnectionClosed) and event.connection is self._client.conn:
            yield from self._closing(commands.CloseConnection(event.connection))
            return
        said = [each for each in self._early if isinstance(each, events.DataReceived)]
        from_client = b"".join(each.data for each in said if each.connection is self._client.conn)
        self._http = self._choose(from_client, any(each.connection is not self._client.conn for each in said))
        if self._http is not None:
            early, self._early = self._early, []
            for each in early:
                yield from self._through(self._http, each)

    def _through(self, http: layer.Layer, event: events.Event) -> Commands:
        waiting: dict[Connection, list[bytes]] = {}
        for command in http.handle_event(event):
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
            if data := self._sides[connection].encrypt(pieces[0] if len(pieces) == 1 else b"".join(pieces)):
                yield commands.SendData(connection, data)
        waiting.clear()

    def _closing(self, command: commands.ConnectionCommand) -> Commands:
        """Nothing else may be commanded: to open would mean to go on without TLS."""
        if not isinstance(command, commands.CloseConnection):
            raise RuntimeError(f"unexpected on an established TLS connection: {command}")
        if not isinstance(command, commands.CloseTcpConnection) and (data := self._sides[command.connection].goodbye()):
            yield commands.SendData(command.connection, data)
        yield command
