"""After a WebSocket handshake: frames are checked and relayed as they come.

mitmproxy's own layer unpacks every message and keeps it until its end: 400 kB of permessage-deflate became 800 MB and held
all clients up for seven seconds. Nobody here reads messages, so nothing is put together.
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

PROTOCOL_ERROR = 1002
OCTETS = "arcus.octets"
"""Where a flow's metadata has what its WebSocket relayed: a list of the octets from the client, and of those to it."""
_CLOSE_TO_CLIENT = b"\x88\x02" + PROTOCOL_ERROR.to_bytes(2)
_CLOSE_TO_SERVER = b"\x88\x82\0\0\0\0" + PROTOCOL_ERROR.to_bytes(2)


class WebSocketRelay(layer.Layer):
    """Both directions of one WebSocket; ends both with the first that ends."""

    def __init__(self, context: Context, flow: HTTPFlow) -> None:
        super().__init__(context)
        self.flow = flow
        extended = flow.response is not None and "sec-websocket-extensions" in flow.response.headers
        self._client = FrameReader(masked=True, extended=extended)
        self._server = FrameReader(masked=False, extended=extended)
        self._ended = False
        self._octets = flow.metadata[OCTETS] = [0, 0]

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield WebsocketStartHook(self.flow)
        elif self._ended:
            return
        elif isinstance(event, events.DataReceived):
            yield from self._relay(event.data, from_client=event.connection == self.context.client)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._end(from_client=event.connection == self.context.client)

    def _relay(self, data: bytes, *, from_client: bool) -> layer.CommandGenerator[None]:
        reader, peer = (self._client, self.context.server) if from_client else (self._server, self.context.client)
        try:
            messages = reader.feed(data)
        except BadFrame as error:
            yield from self._refuse(str(error), from_client=from_client)
            return
        for _ in range(messages):
            yield from self._count(from_client=from_client)  # first: where a hook fails, the message must not have passed
        self._octets[not from_client] += len(data)
        yield commands.SendData(peer, data)

    def _count(self, *, from_client: bool) -> layer.CommandGenerator[None]:
        if self.flow.websocket is not None:
            self.flow.websocket.messages.append(WebSocketMessage(Opcode.BINARY, from_client, b""))
            yield WebsocketMessageHook(self.flow)

    def _refuse(self, why: str, *, from_client: bool) -> layer.CommandGenerator[None]:
        if self.flow.websocket is not None:
            self.flow.websocket.close_code, self.flow.websocket.close_reason = PROTOCOL_ERROR, why
        yield commands.SendData(self.context.client, _CLOSE_TO_CLIENT)
        yield commands.SendData(self.context.server, _CLOSE_TO_SERVER)
        yield from self._end(from_client=from_client)

    def _end(self, *, from_client: bool) -> layer.CommandGenerator[None]:
        self._ended = True
        if self.flow.websocket is not None:
            self.flow.websocket.timestamp_end = time.time()
            self.flow.websocket.closed_by_client = from_client
        yield from self._close(self.context.server)
        yield from self._close(self.context.client)
        yield WebsocketEndHook(self.flow)
        self.flow.live = False

    @staticmethod
    def _close(connection: Connection) -> layer.CommandGenerator[None]:
        if connection.connected:
            yield commands.CloseConnection(connection)
