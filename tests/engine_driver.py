"""Drives mitmproxy's sans-io layers: answers hooks and connection commands, and keeps what was written where."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ProxyMode

from appliance.config.server import Limits
from appliance.domain.reason import Reason
from appliance.engine.http.layer import StrictHttpLayer
from appliance.engine.options import EAGER

type Hook = Callable[[HTTPFlow], None]
type Responder = Callable[["Upstream"], None]


class Recorder:
    """An observer that keeps the violations; ``in_flow`` holds those that the flow's error tells of as well."""

    def __init__(self) -> None:
        self.violations: list[tuple[Reason, str]] = []
        self.in_flow: list[Reason] = []

    def on_violation(self, reason: Reason, detail: str) -> None:
        self.violations.append((reason, detail))

    def on_flow_violation(self, reason: Reason, detail: str) -> None:
        self.violations.append((reason, detail))
        self.in_flow.append(reason)

    @property
    def reasons(self) -> list[Reason]:
        return [reason for reason, _ in self.violations]


@dataclass
class Upstream:
    driver: "Driver"
    connection: Server
    received: bytearray = field(default_factory=bytearray)
    closed: bool = False

    def send(self, data: bytes) -> None:
        self.driver.run(events.DataReceived(self.connection, data))

    def close(self) -> None:
        self.connection.state &= ~ConnectionState.CAN_READ
        self.driver.run(events.ConnectionClosed(self.connection))


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Driver:
    """One client connection. ``upstreams`` holds the server's end of each connection that was opened, in order."""

    layer_type: type[StrictHttpLayer] = StrictHttpLayer

    def __init__(
        self,
        mode: HTTPMode = HTTPMode.transparent,
        *,
        limits: Limits | None = None,
        observer: Recorder | None = None,
        hooks: dict[str, Hook] | None = None,
        client_h2: bool = False,
        upstream_h2: bool = False,
        tls: bool = False,
        refuse: str = "",
    ) -> None:
        self.observer = observer or Recorder()
        self.hooks = hooks or {}
        self.clock = Clock()
        self.refuse = refuse
        self.upstream_h2 = upstream_h2
        self.sent = bytearray()
        self.closed = False
        self.upstreams: list[Upstream] = []
        self.flows: list[HTTPFlow] = []
        self.seen: list[tuple[str, HTTPFlow]] = []
        self.context = _context(mode, tls, client_h2, upstream_h2)
        self.layer: Layer = self.layer_type(self.context, mode, limits or Limits(), self.observer, self.clock)
        self._queue: deque[events.Event] = deque()
        self._running = False
        if mode is HTTPMode.transparent and tls:
            # The eager connection of an inspected tunnel.
            self._opened(self.context.server)
        self.run(events.Start())

    def feed(self, data: bytes) -> "Driver":
        if not self.closed:
            self.run(events.DataReceived(self.context.client, data))
        return self

    def close(self) -> None:
        self.context.client.state &= ~ConnectionState.CAN_READ
        self.run(events.ConnectionClosed(self.context.client))

    def take(self) -> bytes:
        data, self.sent = bytes(self.sent), bytearray()
        return data

    def run(self, event: events.Event) -> None:
        self._queue.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._queue:
                for command in self.layer.handle_event(self._queue.popleft()):
                    self._execute(command)
        finally:
            self._running = False

    def _execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.StartHook):
            self._hook(command)
        elif isinstance(command, commands.OpenConnection):
            self._open(command)
        elif isinstance(command, commands.SendData):
            self._send(command.connection, command.data)
        elif isinstance(command, commands.CloseConnection):
            self._close(command.connection)

    def _hook(self, command: commands.StartHook) -> None:
        flow = getattr(command, "flow", None)
        if isinstance(flow, HTTPFlow):
            self.seen.append((command.name, flow))
            if command.name == "requestheaders":
                self.flows.append(flow)
            if command.name in self.hooks:
                self.hooks[command.name](flow)
        if command.blocking:
            self._queue.append(events.HookCompleted(command))

    def _open(self, command: commands.OpenConnection) -> None:
        if self.refuse:
            command.connection.error = self.refuse
            self._queue.append(events.OpenConnectionCompleted(command, self.refuse))
            return
        self._opened(command.connection)
        self._queue.append(events.OpenConnectionCompleted(command, None))

    def _opened(self, connection: Server) -> None:
        connection.state = ConnectionState.OPEN
        connection.peername = ("192.0.2.1", 443)
        connection.alpn = b"h2" if self.upstream_h2 else None
        self.upstreams.append(Upstream(self, connection))

    def _of(self, connection: Connection) -> Upstream:
        return next(item for item in self.upstreams if item.connection is connection)

    def _send(self, connection: Connection, data: bytes) -> None:
        if connection.state & ConnectionState.CAN_WRITE:
            target = self.sent if connection is self.context.client else self._of(connection).received
            target += data

    def _close(self, connection: Connection) -> None:
        if connection.state is ConnectionState.CLOSED:
            return
        connection.state = ConnectionState.CLOSED
        if connection is self.context.client:
            self.closed = True
        else:
            self._of(connection).closed = True
        self._queue.append(events.ConnectionClosed(connection))


def _context(mode: HTTPMode, tls: bool, client_h2: bool, upstream_h2: bool) -> Context:
    client = Client(
        peername=("198.51.100.7", 50000), sockname=("203.0.113.1", 8080), timestamp_start=0.0, state=ConnectionState.OPEN,
        proxy_mode=ProxyMode.parse("regular"),
    )  # fmt: skip
    client.tls = tls
    client.sni = "example.com" if tls else None
    client.alpn = b"h2" if client_h2 else None
    context = Context(client, EAGER)  # type: ignore[arg-type]
    if mode is HTTPMode.transparent:
        context.server.address = ("example.com", 443 if tls else 80)
        context.server.tls = tls
        context.server.alpn = b"h2" if upstream_h2 else None
    return context
