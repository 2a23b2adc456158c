"""The frequent exchange of HTTP/1 without streams: a request that has no body, asked of a connection that is at hand, and its
answer.

The layers pass each event through a dozen generators and as many small objects: 40 % of what a small request costs there
(measured). Here the same steps are taken on the same two connection sides (``engine.http.server1``, ``engine.http.client1``),
with the same hooks in the same order, in one generator for each event. Nothing is decided here that the layers decide: when
anything but the frequent case comes, from a hook that waits to a client that goes away, a stream is put where it would stand by
now (``TaskStream.behind``), and what follows is theirs. ``tests/appliance/engine/test_flat.py`` holds both against each other.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from mitmproxy.connection import Connection
from mitmproxy.http import HTTPFlow, Request, Response
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import GetHttpConnection, HTTPMode
from mitmproxy.proxy.layers.http._events import (
    RequestEndOfMessage,
    RequestHeaders,
    ResponseEndOfMessage,
    ResponseHeaders,
)
from mitmproxy.proxy.layers.http._hooks import (
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from appliance.engine.http.client1 import StrictHttp1Client
from appliance.engine.http.faults import BadMessage
from appliance.engine.http.framing import BodyKind
from appliance.engine.http.head import ResponseHead
from appliance.engine.http.kept1 import may_begin
from appliance.engine.http.server1 import StrictHttp1Server
from appliance.engine.inspection import PLANS
from appliance.engine.task_http import TaskHttpLayer, TaskStream

_HARMLESS = frozenset(("arcus.task", "arcus.scan.request", "arcus.scan.response", PLANS[True]))
"""What addons leave on a flow that says nothing about the body of an answer. Whatever else there is makes it a stream: what is
not known here is understood there."""


@dataclass(slots=True)
class Exchange:
    """A request that was sent, and what has come of its answer."""

    flow: HTTPFlow
    client: StrictHttp1Server
    upstream: StrictHttp1Client
    stream_id: int
    answering: bool = False
    """The head of the answer is here, and its hook has run."""
    streaming: bool = False
    """The body goes on as it comes."""
    held: bytearray = field(default_factory=bytearray)


class FlatHttpLayer(TaskHttpLayer):
    """At most one exchange is in progress here, and then no stream is."""

    _exchange: Exchange | None = None

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        exchange = self._exchange
        if exchange is None:
            if isinstance(event, events.DataReceived):
                side = self.connections.get(event.connection)
                if isinstance(side, StrictHttp1Server) and side.idle:
                    return self._read(side, event.data)
        elif isinstance(event, events.DataReceived) and event.connection is exchange.upstream.conn:
            return self._read_body(exchange, event.data) if exchange.answering else self._read_answer(exchange, event.data)
        else:
            self._hand_over(exchange)
        return self._handle_event(event)

    def at_rest(self, server: Connection) -> bool:
        return self._exchange is None and super().at_rest(server)

    # -- the request -----------------------------------------------------------------------------------------------

    def _read(self, client: StrictHttp1Server, data: bytes) -> CommandGenerator[None]:
        try:
            parsed = client.parse(data)
        except BadMessage as error:
            yield from self.carry_out(client, client.fail_with(error))
            return
        if parsed is None:
            return
        head, request, rest = parsed
        if rest or head.websocket or head.framing[0] is not BodyKind.NONE:
            yield from self.carry_out(client, client.begin(head, request, rest))
        else:
            client.accept(head, request)
            yield from self._request(client, request)

    def _request(self, client: StrictHttp1Server, request: Request) -> CommandGenerator[None]:
        flow, fields = self._flow(request), request.headers.fields
        hook = _quick(HttpRequestHeadersHook(flow))
        yield hook
        changed = flow.request is not request or request.headers.fields is not fields
        if _is_odd(hook, flow) or (changed and "expect" in flow.request.headers):
            stream = self._stream(flow, client.stream_id)
            event = RequestHeaders(client.stream_id, flow.request, end_stream=True, replay_flow=flow)
            yield from self.carry_out(stream, stream.behind(hook, stream.state_wait_for_request_headers(event)))
            yield from self.carry_out(client, client.end_request())
        else:
            client.request_done = True
            yield from self._whole_request(client, flow)

    def _flow(self, request: Request) -> HTTPFlow:
        flow = HTTPFlow(self.context.client, self.context.server, live=True)
        flow.request = request
        address = self.context.server.address
        if self.mode is HTTPMode.transparent and address is not None:
            request.data.host, request.data.port = address
            request.data.scheme = b"https" if self.context.server.tls else b"http"
        return flow

    def _whole_request(self, client: StrictHttp1Server, flow: HTTPFlow) -> CommandGenerator[None]:
        flow.request.timestamp_end = time.time()
        flow.request.data.content = b""
        hook = _quick(HttpRequestHook(flow))
        yield hook
        data = flow.request.data
        odd = _is_odd(hook, flow) or flow.response is not None or data.content or data.trailers
        upstream = None if odd else self._upstream(flow)
        if upstream is None:
            stream = self._stream(flow, client.stream_id)
            event = RequestEndOfMessage(client.stream_id)
            yield from self.carry_out(stream, stream.behind(hook, stream.state_consume_request_body(event)))
        else:
            yield from self._ask(Exchange(flow, client, upstream, client.stream_id))

    def _upstream(self, flow: HTTPFlow) -> StrictHttp1Client | None:
        """The side that the layers would choose, if it is at hand and there is nothing between it and the octets."""
        request, given = flow.request, self.context.server
        server = flow.server_conn
        wanted = GetHttpConnection(
            (request.host, request.port), request.data.scheme == b"https", server.via, server.transport_protocol
        )
        found = self.usable(wanted)
        unused = found is None and given not in self.connections and wanted.connection_spec_matches(given)
        if unused and given.connected and not given.error and given.alpn != b"h2" and may_begin(given, request):
            self.connections[given] = self.upstream_side(self.context.fork())
            found = given
        side = self.connections[found] if found is not None and found not in self.waiting_for_establishment else None
        return side if isinstance(side, StrictHttp1Client) else None

    def _ask(self, exchange: Exchange) -> CommandGenerator[None]:
        flow, upstream = exchange.flow, exchange.upstream
        flow.server_conn = upstream.context.server
        try:
            head = upstream.ask(exchange.stream_id, flow.request)
        except BadMessage as error:
            self._hand_over(exchange)
            yield from self.carry_out(upstream, upstream.give_up(error))
            return
        self._exchange = exchange
        yield commands.SendData(upstream.conn, head)

    # -- the answer ------------------------------------------------------------------------------------------------

    def _read_answer(self, exchange: Exchange, data: bytes) -> CommandGenerator[None]:
        upstream = exchange.upstream
        try:
            parsed = upstream.parse(data)
        except BadMessage as error:
            self._hand_over(exchange)
            yield from self.carry_out(upstream, upstream.fail_with(error))
            return
        if parsed is None:
            return
        head, rest = parsed
        if head.status == 101:
            self._hand_over(exchange)
            yield from self.carry_out(upstream, upstream.begin(head, rest))
        else:
            yield from self._answer(exchange, head, rest)

    def _answer(self, exchange: Exchange, head: ResponseHead, rest: bytes) -> CommandGenerator[None]:
        flow, upstream = exchange.flow, exchange.upstream
        empty = head.framing[0] is BodyKind.NONE
        response = flow.response = upstream.accept(head)
        if empty:
            upstream.inbox += rest
        hook = _quick(HttpResponseHeadersHook(flow))
        yield hook
        if _is_odd(hook, flow) or flow.response is not response or response.data.status_code < 200:
            stream = self._hand_over(exchange)
            event = ResponseHeaders(exchange.stream_id, response, empty)
            yield from self.carry_out(stream, stream.behind(hook, stream.state_wait_for_response_headers(event)))
            yield from self.carry_out(upstream, upstream.after_head(rest))
            return
        exchange.answering, exchange.streaming = True, bool(response.stream) and not empty
        if exchange.streaming:
            yield from self._send_head(exchange.client, response)
        if empty:
            yield from self._whole_answer(exchange)
        elif rest:
            yield from self._read_body(exchange, rest)

    def _read_body(self, exchange: Exchange, data: bytes) -> CommandGenerator[None]:
        upstream, pieces = exchange.upstream, list[bytes]()
        try:
            rest = upstream.body_reader.feed(data, pieces)
        except BadMessage as error:
            self._hand_over(exchange)
            yield from self.carry_out(upstream, upstream.fail_with(error))
            return
        upstream.inbox += rest
        if pieces and exchange.streaming:
            yield from self._pass_on(exchange, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        else:
            exchange.held += b"".join(pieces)
        if not upstream.body_reader.done:
            return
        if upstream.body_reader.trailers:
            self._hand_over(exchange)
            yield from self.carry_out(upstream, upstream.finish_body())
        else:
            yield from self._whole_answer(exchange)

    def _pass_on(self, exchange: Exchange, data: bytes) -> CommandGenerator[None]:
        """A piece of the body, or its end (nothing), by way of the flow's own function if it has one."""
        stream = exchange.flow.response.stream if exchange.flow.response is not None else True
        pieces: bytes | Iterable[bytes] = stream(data) if callable(stream) else data
        for piece in (pieces,) if isinstance(pieces, bytes) else pieces:
            if piece:
                yield from exchange.client.write_body(piece)

    def _whole_answer(self, exchange: Exchange) -> CommandGenerator[None]:
        flow, upstream = exchange.flow, exchange.upstream
        upstream.state = upstream.wait
        yield from self.carry_out(upstream, upstream.mark_done(response=True))
        response = flow.response
        if exchange.streaming:
            yield from self._pass_on(exchange, b"")
        elif response is not None:
            response.data.content = bytes(exchange.held)
            exchange.held.clear()
        if response is not None:
            response.timestamp_end = time.time()
        hook = _quick(HttpResponseHook(flow))
        yield hook
        response = flow.response
        if _is_odd(hook, flow) or response is None or not _is_frequent(response, exchange.streaming):
            stream = self._hand_over(exchange)
            yield from self.carry_out(stream, stream.behind(hook, stream.send_response(already_streamed=exchange.streaming)))
            return
        self._exchange = None
        flow.live = False
        client, stream_id = exchange.client, exchange.stream_id
        if not exchange.streaming:
            yield from self._send_head(client, response)
            if response.data.content:
                yield from client.write_body(response.data.content)
        yield from self.carry_out(client, client.send(ResponseEndOfMessage(stream_id)))

    def _send_head(self, client: StrictHttp1Server, response: Response) -> CommandGenerator[None]:
        try:
            head = client.answer(response)
        except BadMessage as error:
            yield from client.replace_response(error)
        else:
            yield from client.write_head(head, response.data.content)

    # -- the layers take over --------------------------------------------------------------------------------------

    def _stream(self, flow: HTTPFlow, stream_id: int) -> TaskStream:
        """A stream for a flow that has begun without."""
        stream = self.streams[stream_id] = TaskStream(self.context.fork(), stream_id)
        stream.flow = flow
        stream.context.server = flow.server_conn
        stream.client_state = stream.state_consume_request_body
        stream.server_state = stream.state_wait_for_response_headers
        return stream

    def _hand_over(self, exchange: Exchange) -> TaskStream:
        """The request was sent: what follows is the layers'."""
        self._exchange = None
        stream = self._stream(exchange.flow, exchange.stream_id)
        stream.client_state = stream.state_done
        if exchange.answering:
            stream.server_state = (
                stream.state_stream_response_body if exchange.streaming else stream.state_consume_response_body
            )
            stream.response_body_buf += bytes(exchange.held)
        return stream


def _is_odd(hook: commands.StartHook, flow: HTTPFlow) -> bool:
    """After a hook: it is not over, or has left something that a stream knows what to do with."""
    return hook.blocking or flow.error is not None or not flow.metadata.keys() <= _HARMLESS


def _is_frequent(response: Response, streamed: bool) -> bool:
    """A final one that ends with its body, which has gone out or is here."""
    data = response.data
    return data.status_code >= 200 and not data.trailers and (streamed or data.content is not None)


def _quick[H: commands.StartHook](hook: H) -> H:
    """The handler sets ``blocking`` when the hook is not over at once (``TaskStream.handle_event``)."""
    hook.blocking = False
    return hook
