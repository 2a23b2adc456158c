"""The layer that the connection handler puts on a stream of HTTP: mitmproxy's flows on our own connections."""

import time
from typing import cast

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events, tunnel
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpLayer,
    HTTPMode,
    HttpStream,
    RegisterHttpConnection,
    SendHttp,
)
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import RequestHeaders

from appliance.config.server import Limits
from appliance.engine.context import TaskServer
from appliance.engine.http.client1 import StrictHttp1Client
from appliance.engine.http.client2 import StrictHttp2Client
from appliance.engine.http.h2meter import Clock
from appliance.engine.http.kept1 import KeptHttp1Client, is_kept, may_begin
from appliance.engine.http.observer import Notices, Observer
from appliance.engine.http.server1 import StrictHttp1Server
from appliance.engine.http.server2 import StrictHttp2Server
from appliance.engine.inspection import Await
from appliance.engine.layers import ServerTls

_PRUNE_ABOVE = 8
"""Upstream connections that one client may leave behind before the closed ones are forgotten."""


class StrictHttpLayer(HttpLayer):
    """``mode``: ``regular`` takes absolute-form requests (a proxy's port), ``transparent`` origin-form ones (inside a tunnel).

    CONNECT is never served here: the handler reads it from the socket with ``head.read_head`` before this layer exists.
    """

    def __init__(
        self, context: Context, mode: HTTPMode, limits: Limits, observer: Observer, clock: Clock = time.monotonic
    ) -> None:
        if mode is HTTPMode.upstream:
            raise ValueError("parents are reached through the dialer, not through mitmproxy's upstream mode")
        super().__init__(context, mode)
        self._limits = limits
        self._notices = Notices(observer)
        self._clock = clock
        self._dropped: list[Layer] = []
        """The last stream that ended: usually there was one only."""

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """This layer itself never waits for a command, so it needs none of the base class's bookkeeping around every event."""
        return self._handle_event(event)

    def dismantle(self) -> None:
        """Nothing follows any more. Layers hold themselves (the method for the next event) and each other (the context): taken
        apart, they are gone at once."""
        for each in (*self.connections.values(), *self.streams.values(), *self._dropped, self):
            each.context.layers.clear()
            vars(each).clear()

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.ConnectionEvent):
            side = self.connections.get(event.connection)
            if side is not None:
                yield from self.event_to_child(side, event)
            else:
                yield from self._unknown_connection(event)
        elif isinstance(event, events.CommandCompleted):
            # what took its time although it seldom does (``TaskStream.handle_event``) names who waits for it
            source = self.command_sources.pop(event.command, None) or cast(Layer, event.command.blocking)
            yield from self.event_to_child(source, event)
        elif isinstance(event, events.Start):
            side = self._client_side()
            self.connections[self.context.client] = side
            yield from self.event_to_child(side, event)
        else:
            yield from super()._handle_event(event)

    def event_to_child(self, child: Layer, event: events.Event) -> CommandGenerator[None]:
        """As in the base class."""
        return self.carry_out(child, child.handle_event(event))

    def carry_out(self, child: Layer, going_on: CommandGenerator[None]) -> CommandGenerator[None]:
        """What ``child`` commands. The base class's routing, with the frequent ones first: this runs for every event of every
        flow.

        A closed connection may be forgotten while its flow still sends; what it sends goes nowhere.
        """
        for command in going_on:
            if isinstance(command, ReceiveHttp):
                inner = command.event
                if isinstance(inner, RequestHeaders):
                    yield from self.make_stream(inner.stream_id)
                stream = self.streams.get(inner.stream_id)
                if stream is not None:
                    yield from self.event_to_child(stream, inner)
            elif isinstance(command, SendHttp):
                side = self.connections.get(command.connection)
                if side is not None:
                    yield from self.event_to_child(side, command.event)
            elif isinstance(command, commands.SendData):
                yield command
            else:
                yield from self._route(child, command)

    def _route(self, child: Layer, command: commands.Command) -> CommandGenerator[None]:
        if command.blocking or isinstance(command, (commands.RequestWakeup, Await)):
            self.command_sources[command] = child
        if isinstance(command, DropStream):
            if (stream := self.streams.pop(command.stream_id, None)) is not None:
                self._dropped = [stream]
                self.dropped(stream)
        elif isinstance(command, GetHttpConnection):
            yield from self.get_connection(command)
        elif isinstance(command, RegisterHttpConnection):
            yield from self.register_connection(command)
        else:
            if isinstance(command, commands.OpenConnection):
                self.connections[command.connection] = child
            yield command

    def dropped(self, stream: Layer) -> None:
        """A stream is over."""

    def at_rest(self, server: Connection) -> bool:
        """Nothing is under way, and the server may take another request; also one that was given and not used."""
        if self.streams:
            return False
        side = self.connections.get(server)
        if side is None:
            return server is self.context.server
        return isinstance(side, StrictHttp1Client) and side.idle and not side.inbox

    def _client_side(self) -> Layer:
        forward = self.mode is HTTPMode.regular
        context = self.context.fork()
        if self.context.client.alpn == b"h2":
            return StrictHttp2Server(context, self._limits, self._notices, self._clock, self._live, forward=forward)
        return StrictHttp1Server(context, self._limits, self._notices, forward=forward)

    def _live(self) -> int:
        return len(self.streams)

    def client_backlog(self) -> int:
        """Body octets that wait for an HTTP/2 client's window: whoever streams a body should wait while they are many."""
        side = self.connections[self.context.client]
        return side.backlog() if isinstance(side, StrictHttp2Server) else 0

    def stream_backlog(self, connection: Connection, stream_id: int) -> int:
        """Body octets of one stream that wait for a peer's HTTP/2 window."""
        side = self.connections.get(connection)
        last = side.context.layers[-1] if side is not None and connection is not self.context.client else side
        return last.stream_backlog(stream_id) if isinstance(last, (StrictHttp2Server, StrictHttp2Client)) else 0

    def client_body(self) -> int:
        """DATA octets that came from an HTTP/2 client."""
        side = self.connections.get(self.context.client)
        return side.body_octets if isinstance(side, StrictHttp2Server) else 0

    def upstream_side(self, context: Context) -> Layer:
        """The layer that speaks to ``context.server``, which is connected."""
        if context.server.alpn == b"h2":
            return StrictHttp2Client(context, self._limits, self._notices, self._clock)
        if is_kept(context.server):
            return KeptHttp1Client(context, self._limits, self._notices)
        return StrictHttp1Client(context, self._limits, self._notices)

    def _unknown_connection(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """The server we were given speaks first (HTTP/2 settings), or a forgotten connection reports its end."""
        if event.connection != self.context.server:
            return
        if isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(event.connection)
        elif isinstance(event, events.DataReceived):
            side = self.upstream_side(self.context.fork())
            self.connections[self.context.server] = side
            yield from self.event_to_child(side, events.Start())
            yield from self.event_to_child(side, event)

    # -- upstream connections

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> CommandGenerator[None]:
        """Reuse a connection that can take the request now, or open one. The dialer decides the way, so ``via`` is not used."""
        if len(self.connections) > _PRUNE_ABOVE:
            self._prune()
        found = self.usable(event) if reuse else None
        if found is not None and found in self.waiting_for_establishment:
            self.waiting_for_establishment[found].append(event)
            return
        if found is not None:
            yield from self._complete(event, found, None)
            return
        given = self.context.server
        unused = given not in self.connections and event.connection_spec_matches(given)
        if unused and given.error:
            yield from self._complete(event, None, given.error)
        elif unused and given.connected and self._may_begin(given, event):
            yield from self._use(event, given)
        else:
            yield from self._open(event)

    def _may_begin(self, given: Server, event: GetHttpConnection) -> bool:
        """Whether this request may go out on a connection that its server is perhaps about to close."""
        stream = self.command_sources[event]
        return not isinstance(stream, HttpStream) or may_begin(given, stream.flow.request)

    def usable(self, wanted: GetHttpConnection) -> Connection | None:
        """The first connection that fits: it can take the request now, or is being opened."""
        for connection in self.connections:
            if connection is self.context.client or not wanted.connection_spec_matches(connection):
                continue
            if connection in self.waiting_for_establishment or self._can_take(connection):
                return connection
        return None

    def _can_take(self, connection: Connection) -> bool:
        """HTTP/1 takes one request at a time; HTTP/2 takes them until it is told to go away."""
        if not connection.connected:
            return False
        side = self.connections[connection].context.layers[-1]
        if isinstance(side, StrictHttp1Client):
            return side.idle
        return isinstance(side, StrictHttp2Client) and not side.draining

    def _complete(self, event: GetHttpConnection, connection: Connection | None, error: str | None) -> CommandGenerator[None]:
        stream = self.command_sources.pop(event)
        reply = (connection, None) if connection is not None else (None, error or "no connection")
        yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, reply))

    def _use(self, event: GetHttpConnection, given: Server) -> CommandGenerator[None]:
        """The connection that the handshakes have opened."""
        side = self.connections[given] = self.upstream_side(self.context.fork())
        yield from self.event_to_child(side, events.Start())
        yield from self._complete(event, given, None)

    def _open(self, event: GetHttpConnection) -> CommandGenerator[None]:
        context = self.context.fork()
        stack = tunnel.LayerStack()
        context.server = TaskServer(address=event.address, transport_protocol=event.transport_protocol)
        if event.tls:
            context.server.sni = self._server_name(event)
            stack /= ServerTls(context)
        stack /= _UpstreamOpener(context, self)
        self.connections[context.server] = stack[0]
        self.waiting_for_establishment[context.server].append(event)
        yield from self.event_to_child(stack[0], events.Start())

    def replace(self, opener: Layer, side: Layer) -> None:
        """Without TLS of ours in between, events can go straight to the protocol."""
        server = opener.context.server
        if self.connections.get(server) is opener:
            self.connections[server] = side

    def _server_name(self, event: GetHttpConnection) -> str:
        """In a tunnel the address may be an IP address: the name to ask for, and to verify, is the one the client used."""
        if self.mode is HTTPMode.transparent and event.address == self.context.server.address:
            return self.context.server.sni or self.context.client.sni or event.address[0]
        return event.address[0]

    def register_connection(self, command: RegisterHttpConnection) -> CommandGenerator[None]:
        """Hand a new connection to those who wait for it: to all when it multiplexes, else to one; the others get their own."""
        waiting = self.waiting_for_establishment.pop(command.connection)
        if command.err:
            for event in waiting:
                yield from self._complete(event, None, command.err)
            return
        multiplexes = command.connection.alpn == b"h2"
        taken = waiting if multiplexes else waiting[:1]
        for event in taken:
            yield from self._complete(event, command.connection, None)
        for event in waiting[len(taken) :]:
            yield from self.get_connection(event, reuse=False)

    def _prune(self) -> None:
        waiting = self.waiting_for_establishment
        for connection, side in list(self.connections.items()):
            if isinstance(connection, Server) and connection.state is ConnectionState.CLOSED and connection not in waiting:
                last = side.context.layers[-1]
                # A connection that failed while its flow was sending still has to report it.
                if not isinstance(last, StrictHttp1Client) or last.finished:
                    del self.connections[connection]


class _UpstreamOpener(Layer):
    """Opens the connection, then steps aside for the protocol that was negotiated."""

    def __init__(self, context: Context, parent: StrictHttpLayer) -> None:
        super().__init__(context)
        self._parent = parent

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        error: str | None = None
        if not self.context.server.connected:
            error = yield commands.OpenConnection(self.context.server)
        if not error:
            side = self._parent.upstream_side(self.context)
            self._handle_event = side.handle_event  # type: ignore[method-assign]
            self._parent.replace(self, side)
            yield from side.handle_event(event)
        yield RegisterHttpConnection(self.context.server, error)
