"""After a WebSocket handshake: frames are checked and relayed as they come, or message by message once each was judged.

mitmproxy's own layer unpacks every message and keeps it until its end: 400 kB of permessage-deflate became 800 MB and held
all clients up for seven seconds. Here nothing is put together unless a judge is on the flow, and then up to his limit.
"""

import time

from mitmproxy.connection import Connection
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketMessageHook, WebsocketStartHook
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from appliance.engine.frames import BadFrame, FrameReader
from appliance.engine.inspection import Awaited, Hold
from appliance.engine.messages import JUDGES, Judge, Refusal, Turnstile, Unit
from appliance.engine.websocket_messages import MessageReader

PROTOCOL_ERROR = 1002
OCTETS = "arcus.octets"
"""Where a flow's metadata has what its WebSocket relayed: a list of the octets from the client, and of those to it."""
_CLOSE_TO_CLIENT = b"\x88\x02"
_CLOSE_TO_SERVER = b"\x88\x82\0\0\0\0"


class WebSocketRelay(layer.Layer):
    """Both directions of one WebSocket; ends both with the first that ends."""

    def __init__(self, context: Context, flow: HTTPFlow) -> None:
        super().__init__(context)
        self.flow = flow
        extended = flow.response is not None and "sec-websocket-extensions" in flow.response.headers
        self._client = FrameReader(masked=True, extended=extended)
        self._server = FrameReader(masked=False, extended=extended)
        self._gates = {side: self._gate(side, extended) for side in (True, False)}
        self._ending: bool | None = None
        """Whose side is over while a message of it waits for its verdict."""
        self._ended = False
        self._octets = flow.metadata[OCTETS] = [0, 0]

    def _gate(self, from_client: bool, extended: bool) -> Turnstile | None:
        judge: Judge | None = self.flow.metadata.get(JUDGES[from_client])
        if judge is None:
            return None
        reader = MessageReader(masked=from_client, extended=extended, limit=judge.limit)
        return Turnstile(self.flow, "websocket_message", reader, judge)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield WebsocketStartHook(self.flow)
        elif self._ended:
            return
        elif isinstance(event, events.DataReceived):
            from_client = event.connection == self.context.client
            gate = self._gates[from_client]
            if gate is None:
                yield from self._relay(event.data, from_client=from_client)
            else:
                yield from self._admit(gate, event.data, from_client=from_client)
        elif isinstance(event, Awaited):
            yield from self._judged(event)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._closed(from_client=event.connection == self.context.client)

    # -- message by message ----------------------------------------------------------------------------------------

    def _admit(self, gate: Turnstile, data: bytes, *, from_client: bool) -> layer.CommandGenerator[None]:
        try:
            gate.feed(data)
        except BadFrame as error:
            yield from self._refuse(Refusal(PROTOCOL_ERROR, str(error)), from_client=from_client)
            return
        yield from self._pass(gate, from_client=from_client)
        if gate.asking is not None:
            yield Hold(self.context.client if from_client else self.context.server, gate.free.wait)

    def _pass(self, gate: Turnstile, *, from_client: bool) -> layer.CommandGenerator[None]:
        """Send what may go on; begin to ask about the next."""
        if gate.asking is not None:
            return
        for unit in gate.ready():
            yield from self._send(unit, from_client=from_client)
        if gate.asking is not None:
            yield gate.asking
        elif self._ending is from_client:
            yield from self._end(from_client=from_client)

    def _send(self, unit: Unit, *, from_client: bool) -> layer.CommandGenerator[None]:
        if unit.last:
            yield from self._count(from_client=from_client)
        self._octets[not from_client] += len(unit.wire)
        yield commands.SendData(self.context.server if from_client else self.context.client, unit.wire)

    def _judged(self, event: Awaited) -> layer.CommandGenerator[None]:
        for from_client, gate in self._gates.items():
            if gate is not None and gate.asking is event.command:
                unit = gate.answered()
                if event.failed or isinstance(event.reply, Refusal):
                    refusal = event.reply if isinstance(event.reply, Refusal) else Refusal(1011, "")
                    yield from self._refuse(refusal, from_client=from_client)
                else:
                    yield from self._send(unit, from_client=from_client)
                    yield from self._pass(gate, from_client=from_client)
                return

    def _closed(self, *, from_client: bool) -> layer.CommandGenerator[None]:
        gate = self._gates[from_client]
        if gate is not None and gate.asking is not None:
            self._ending = from_client
        else:
            yield from self._end(from_client=from_client)

    # -- frame by frame --------------------------------------------------------------------------------------------

    def _relay(self, data: bytes, *, from_client: bool) -> layer.CommandGenerator[None]:
        reader, peer = (self._client, self.context.server) if from_client else (self._server, self.context.client)
        try:
            messages = reader.feed(data)
        except BadFrame as error:
            yield from self._refuse(Refusal(PROTOCOL_ERROR, str(error)), from_client=from_client)
            return
        for _ in range(messages):
            yield from self._count(from_client=from_client)  # first: where a hook fails, the message must not have passed
        self._octets[not from_client] += len(data)
        yield commands.SendData(peer, data)

    # -- both ------------------------------------------------------------------------------------------------------

    def _count(self, *, from_client: bool) -> layer.CommandGenerator[None]:
        if self.flow.websocket is not None:
            self.flow.websocket.messages.append(WebSocketMessage(Opcode.BINARY, from_client, b""))
            yield WebsocketMessageHook(self.flow)

    def _refuse(self, refusal: Refusal, *, from_client: bool) -> layer.CommandGenerator[None]:
        if self.flow.websocket is not None:
            self.flow.websocket.close_code, self.flow.websocket.close_reason = refusal.code, refusal.why
        yield commands.SendData(self.context.client, _CLOSE_TO_CLIENT + refusal.code.to_bytes(2))
        yield commands.SendData(self.context.server, _CLOSE_TO_SERVER + refusal.code.to_bytes(2))
        yield from self._end(from_client=from_client)

    def _end(self, *, from_client: bool) -> layer.CommandGenerator[None]:
        self._ended = True
        self.release()
        if self.flow.websocket is not None:
            self.flow.websocket.timestamp_end = time.time()
            self.flow.websocket.closed_by_client = from_client
        yield from self._close(self.context.server)
        yield from self._close(self.context.client)
        yield WebsocketEndHook(self.flow)
        self.flow.live = False

    def release(self) -> None:
        """Give back what is held of messages."""
        for gate in self._gates.values():
            if gate is not None:
                gate.close()

    @staticmethod
    def _close(connection: Connection) -> layer.CommandGenerator[None]:
        if connection.connected:
            yield commands.CloseConnection(connection)
