"""The flat exchange against the layers: the same script gives the same octets, hooks, flows and ends, whoever takes it.

Each script runs through both, step by step, and everything that can be seen is compared after each step: what goes to whom and
in which order, the hooks with the whole state of their flow, violations, and how the connection sides stand.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import HTTPMode

from appliance.engine.flat import FlatHttpLayer
from appliance.engine.http.http1 import StrictHttp1
from appliance.engine.http.server1 import StrictHttp1Server
from appliance.engine.inspection import PLANS
from appliance.engine.task_http import BODY_KEY, LIMIT_KEY, TaskHttpLayer
from tests.appliance.engine.test_adapting import Judge
from tests.engine_driver import Driver

HOOKS = ("requestheaders", "request", "responseheaders", "response")
GET = b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 5\r\n\r\nhello"

REQUESTS = {
    "get": GET,
    "head": GET.replace(b"GET", b"HEAD"),
    "zero": GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
    "close": GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "http10": GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "keep10": GET.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"),
    "te": GET.replace(b"\r\n\r\n", b"\r\nTE: trailers\r\n\r\n"),
    "body": GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"),
    "chunked": GET.replace(b"GET", b"PUT").replace(
        b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
    ),
    "expect": GET.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
    "websocket": GET.replace(
        b"\r\n\r\n",
        b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    ),
    "options": b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "blank": b"\r\n" + GET,
    "folded": GET.replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    "junk": b"\x16\x03\x01\x00",
    "pipelined": GET + GET,
    "smuggled": GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
}
RESPONSES = {
    "length": OK,
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 5\r\n\r\n',
    "close": OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "http10": OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "until close": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "trailers": b"HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    "1xx": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    "101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
    "more": OK + b"more",
    "more than none": b"HTTP/1.1 204 No Content\r\n\r\nmore",
    "bad": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nheXX",
    "not http": b"SSH-2.0-OpenSSH\r\n\r\n",
    "large": b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000,
}

type Effect = Callable[[HTTPFlow], None]


def nothing(_flow: HTTPFlow) -> None:
    """The hook only looks."""


def block(flow: HTTPFlow) -> None:
    """As ``addons.carry.answer`` does."""
    flow.response = http.Response.make(403, b"blocked", {"Content-Type": "text/plain"})
    flow.request.stream = False


def kill(flow: HTTPFlow) -> None:
    if flow.killable:
        flow.kill()


def add(name: str, value: str, flow: HTTPFlow) -> None:
    message = flow.response if flow.response is not None else flow.request
    message.headers[name] = value


def content(flow: HTTPFlow) -> None:
    message = flow.response if flow.response is not None else flow.request
    message.content = b"changed"


def no_content(flow: HTTPFlow) -> None:
    message = flow.response if flow.response is not None else flow.request
    message.content = None


def trailers(flow: HTTPFlow) -> None:
    message = flow.response if flow.response is not None else flow.request
    message.trailers = http.Headers([(b"X-T", b"2")])


def status(code: int, flow: HTTPFlow) -> None:
    if flow.response is not None:
        flow.response.status_code = code


def stream(how: "bool | Callable[[bytes], bytes | list[bytes]]", flow: HTTPFlow) -> None:
    message = flow.response if flow.response is not None else flow.request
    message.stream = how


def another_request(flow: HTTPFlow) -> None:
    flow.request = flow.request.copy()


def elsewhere(flow: HTTPFlow) -> None:
    flow.request.host, flow.request.port = "other.example", 8080


def other_error(flow: HTTPFlow) -> None:
    flow.error = http.flow.Error("a remark")


def limit(then: str, flow: HTTPFlow) -> None:
    flow.metadata[LIMIT_KEY] = (2, then)


def keep(flow: HTTPFlow) -> None:
    flow.metadata[LIMIT_KEY] = (2, "block")
    flow.metadata[BODY_KEY] = True


class Plan:
    """Bodies are held for their scan, up to ``above`` bytes or while there is room."""

    at_once = False

    def __init__(self, above: int, room: int) -> None:
        self.above, self.room = above, room

    def take(self, size: int) -> bool:
        self.room -= size
        return self.room >= 0

    def give_back(self, size: int) -> None:
        self.room += size

    def start(self) -> Judge:
        return Judge()


def plan(room: int, flow: HTTPFlow) -> None:
    flow.metadata[PLANS[flow.response is None]] = Plan(1000, room)


def unknown(flow: HTTPFlow) -> None:
    """What the engine has no word for."""
    flow.metadata["arcus.new"] = True


EFFECTS: dict[str, Effect] = {
    "nothing": nothing,
    "block": block,
    "kill": kill,
    "field": partial(add, "X-Added", "1"),
    "expect": partial(add, "Expect", "100-continue"),
    "unwritable": partial(add, "X-Bad", "a\r\nb"),
    "close": partial(add, "Connection", "close"),
    "content": content,
    "no content": no_content,
    "trailers": trailers,
    "status 204": partial(status, 204),
    "status 100": partial(status, 100),
    "status 101": partial(status, 101),
    "status 1000": partial(status, 1000),
    "stream": partial(stream, True),
    "stream as is": partial(stream, lambda data: data),
    "stream pieces": partial(stream, lambda data: [data[:1], b"", data[1:]]),
    "stream more": partial(stream, lambda data: data + b"!" if data else b""),
    "stream less": partial(stream, lambda data: data[1:]),
    "stream end": partial(stream, lambda data: data or b"?"),
    "another request": another_request,
    "elsewhere": elsewhere,
    "remark": other_error,
    "limit": partial(limit, "block"),
    "bypass": partial(limit, "bypass"),
    "keep": keep,
    "plan": partial(plan, 1000),
    "unknown": unknown,
}


@dataclass(frozen=True, slots=True)
class Deed:
    """What a hook does: at once, and when it is waited for (``late`` is not None) at its end."""

    name: str
    effect: Effect = nothing
    late: Effect | None = None


type Deeds = dict[tuple[int, str], Deed]
"""By the number of the flow and the name of the hook."""


class Watched(Driver):
    """Keeps everything that can be seen, in its order."""

    deeds: Deeds
    more: Driver

    def __init__(self, kind: type[TaskHttpLayer], deeds: Deeds, mode: HTTPMode, **more: object) -> None:
        self.log: list[tuple[object, ...]] = []
        self.waiting: list[tuple[commands.StartHook, Effect]] = []
        self.layer_type = kind  # type: ignore[misc]
        self.deeds = deeds
        self.numbers: dict[str, int] = {}
        kept = more.pop("kept", False)
        super().__init__(mode, **more)  # type: ignore[arg-type]
        if kept:
            self.context.server.arcus_kept = lambda: self.log.append(("told",))  # type: ignore[attr-defined]

    def _hook(self, command: commands.StartHook) -> None:
        flow = getattr(command, "flow", None)
        if not isinstance(flow, HTTPFlow):
            self.log.append(("hook", command.name))
            super()._hook(command)
            return
        number = self.numbers.setdefault(flow.id, len(self.numbers))
        self.log.append(("hook", command.name, number, *self._state(flow)))
        deed = self.deeds.get((number, command.name), Deed(""))
        deed.effect(flow)
        if deed.late is not None:
            command.blocking = command.blocking or True
            self.waiting.append((command, deed.late))
        elif command.blocking:
            self._queue.append(events.HookCompleted(command))

    def release(self) -> None:
        """The oldest hook that is waited for ends."""
        if self.waiting:
            command, late = self.waiting.pop(0)
            flow = getattr(command, "flow", None)
            if isinstance(flow, HTTPFlow):
                late(flow)
            self.run(events.HookCompleted(command))

    def _state(self, flow: HTTPFlow) -> tuple[object, ...]:
        request, response = flow.request.data, flow.response.data if flow.response is not None else None
        return (
            request.host, request.port, request.method, request.scheme, request.authority, request.path, request.http_version,
            request.headers.fields, request.content, request.trailers, request.timestamp_end is not None,
            response is not None
            and (
                response.status_code, response.reason, response.headers.fields, response.content, response.trailers,
                response.http_version, response.timestamp_end is not None,
            ),
            flow.live, flow.error.msg if flow.error is not None else None, flow.websocket is not None,
            self._name(flow.server_conn), sorted(flow.metadata),
        )  # fmt: skip

    def _execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.ConnectionCommand) and not isinstance(command, commands.SendData):
            self.log.append((type(command).__name__, self._name(command.connection)))
        elif not isinstance(command, commands.SendData | commands.StartHook | commands.Log):
            self.log.append((type(command).__name__,))
        super()._execute(command)

    def _send(self, connection: Connection, data: bytes) -> None:
        super()._send(connection, data)
        name = self._name(connection)
        if self.log and self.log[-1][:2] == ("sent", name):
            data = bytes(self.log.pop()[2]) + data  # type: ignore[call-overload]
        self.log.append(("sent", name, data))

    def _name(self, connection: Connection) -> str:
        if connection is self.context.client:
            return "client"
        given = "given" if connection is self.context.server else "opened"
        return f"{given} {[each.connection for each in self.upstreams].index(connection) if connection.connected else '-'}"

    def step(self, kind: str, data: bytes) -> None:
        open_ones = [each for each in self.upstreams if not each.closed and each.connection.state & ConnectionState.CAN_READ]
        if kind == "client" and self.context.client.state & ConnectionState.CAN_READ:
            self.feed(data)
        elif kind == "client ends" and self.context.client.state & ConnectionState.CAN_READ:
            self.close()
        elif kind == "release":
            self.release()
        elif kind == "server" and open_ones:
            open_ones[-1].send(data)
        elif kind == "server ends" and open_ones:
            open_ones[-1].close()

    def seen_so_far(self) -> dict[str, object]:
        sides = {self._name(connection): side for connection, side in self.layer.connections.items()}  # type: ignore[attr-defined]
        return {
            "log": self.log,
            "violations": self.observer.violations,
            "closed": self.closed,
            "states": [self.context.client.state, *(each.connection.state for each in self.upstreams)],
            "sides": [
                (
                    name,
                    side.state.__name__,
                    bytes(side.inbox),
                    side.reusable,
                    side.stream_id,
                    side.request_done,
                    side.response_done,
                )
                for name, side in sides.items()
                if isinstance(side, StrictHttp1)
            ],
            "flows": [self._state(flow) for flow in self.flows],
        }


@dataclass
class Setting:
    """A kind of connection: how the client speaks to us, and what stands to the server before its first request."""

    mode: HTTPMode = HTTPMode.transparent
    more: dict[str, object] = field(default_factory=dict)


SETTINGS = {
    "tunnel": Setting(more={"tls": True}),
    "kept": Setting(more={"tls": True, "kept": True}),
    "tunnel to h2": Setting(more={"tls": True, "upstream_h2": True}),
    "lazy": Setting(),
    "refused": Setting(more={"refuse": "connect_refused: nobody there"}),
    "proxy": Setting(HTTPMode.regular),
}

type Step = tuple[str, bytes]


def hold_against_each_other(setting: Setting, deeds: Deeds, steps: list[Step]) -> tuple[Watched, Watched]:
    flat, layers = (Watched(kind, deeds, setting.mode, **setting.more) for kind in (FlatHttpLayer, TaskHttpLayer))
    for number, (kind, data) in enumerate(steps):
        for each in (flat, layers):
            each.step(kind, data)
        expected, found = layers.seen_so_far(), flat.seen_so_far()
        for what, value in expected.items():
            assert found[what] == value, (what, number, kind)
    return flat, layers


def as_spoken(setting: str, data: bytes) -> bytes:
    """A proxy's port takes absolute-form targets."""
    return data.replace(b" /a?b=c ", b" http://example.com/a?b=c ") if setting == "proxy" else data


def cut(data: bytes, cuts: list[int], kind: str) -> Iterator[Step]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in cuts)})
    for start, end in pairwise(places):
        yield kind, data[start:end]


@pytest.mark.parametrize("setting", ["tunnel", "kept", "proxy"])
@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("streaming", ["nothing", "stream as is"])
def test_every_request_with_every_response(setting: str, request_name: str, streaming: str) -> None:
    request = as_spoken(setting, REQUESTS[request_name])
    deeds = {(number, "responseheaders"): Deed("stream", EFFECTS[streaming]) for number in range(3)}
    for response in RESPONSES.values():
        steps = [("client", request), ("server", response), ("client", request), ("server", OK), ("server ends", b"")]
        hold_against_each_other(SETTINGS[setting], deeds, [*steps, ("client ends", b"")])


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("streaming", ["nothing", "stream as is"])
def test_whatever_a_hook_does(hook: str, effect: str, streaming: str) -> None:
    """At once, before it waits, and after that; the other hooks look on. The exchange after it is an ordinary one."""
    stream = Deed("", EFFECTS[streaming])

    def all_of(flow: HTTPFlow) -> None:
        if hook == "responseheaders":
            stream.effect(flow)
        EFFECTS[effect](flow)

    for deed in (Deed("", all_of), Deed("", all_of, nothing), Deed("", stream.effect, EFFECTS[effect])):
        for name in ("length", "empty", "chunked", "trailers", "large"):
            response = RESPONSES[name]
            steps = [
                ("client", GET), ("release", b""), ("server", response[:60]), ("release", b""), ("server", response[60:]),
                ("release", b""), ("client", GET), ("server", OK), ("server ends", b""), ("client ends", b""),
            ]  # fmt: skip
            hold_against_each_other(SETTINGS["tunnel"], {(0, "responseheaders"): stream, (0, hook): deed}, steps)


@pytest.mark.parametrize("waits", [None, *HOOKS])
@pytest.mark.parametrize("disturbance", ["client ends", "server ends", "client", "server"])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("setting", ["tunnel", "kept"])
def test_whatever_comes_at_any_point(waits: str | None, disturbance: str, streaming: bool, setting: str) -> None:
    """Each octet of an exchange comes by itself, and between any two of them comes something else."""
    deeds = {(0, "responseheaders"): Deed("", EFFECTS["stream" if streaming else "nothing"])}
    if waits is not None:
        deeds[0, waits] = Deed("waits", deeds.get((0, waits), Deed("")).effect, nothing)
    request, response = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    octets = [*cut(request, list(range(100)), "client"), *cut(response, list(range(100)), "server")]
    for place in range(0, len(octets) + 1, 7 if setting == "kept" else 1):
        steps = [*octets[:place], (disturbance, b"G" if disturbance == "client" else b"H"), *octets[place:]]
        hold_against_each_other(SETTINGS[setting], deeds, [*steps, ("release", b""), ("client", GET), ("server", OK)])


@st.composite
def conversations(draw: st.DrawFn) -> list[Step]:
    steps: list[Step] = []
    cuts = st.lists(st.integers(0, 100_000), max_size=3)
    for _ in range(draw(st.integers(1, 3))):
        request = REQUESTS[draw(st.sampled_from(["get"] * 8 + list(REQUESTS)))]
        steps += cut(request, draw(cuts), "client")
        steps += cut(RESPONSES[draw(st.sampled_from(["length"] * 8 + list(RESPONSES)))], draw(cuts), "server")
    for _ in range(draw(st.integers(0, 4))):
        other = draw(st.sampled_from([("release", b""), ("release", b""), ("client", GET[:9]), ("server", b"x"),
                                      ("client ends", b""), ("server ends", b"")]))  # fmt: skip
        steps.insert(draw(st.integers(0, len(steps))), other)
    return [*steps, ("release", b""), ("release", b"")]


deed = st.builds(
    lambda early, late: Deed(f"{early}, {late}", EFFECTS[early], EFFECTS[late] if late is not None else None),
    st.sampled_from(["nothing"] * 10 + list(EFFECTS)),
    st.sampled_from([None] * 40 + list(EFFECTS)),
)


@given(
    st.sampled_from(["tunnel"] * 3 + list(SETTINGS)),
    st.dictionaries(st.tuples(st.integers(0, 2), st.sampled_from((*HOOKS, "error"))), deed, max_size=6),
    conversations(),
)
@settings(max_examples=500, deadline=None)
def test_any_conversation(setting: str, deeds: Deeds, steps: list[Step]) -> None:
    steps = [(kind, as_spoken(setting, data)) for kind, data in steps]
    hold_against_each_other(SETTINGS[setting], deeds, steps)


def handed_over(deeds: Deeds, *steps: Step) -> bool:
    """Whether a stream of the layers was needed."""
    flat = Watched(FlatHttpLayer, deeds, HTTPMode.transparent, tls=True)
    made = []
    flat.layer._stream = lambda *args: made.append(args) or FlatHttpLayer._stream(flat.layer, *args)  # type: ignore
    for kind, data in steps:
        flat.step(kind, data)
    assert isinstance(flat.layer, FlatHttpLayer)
    return bool(made) or flat.layer.streams != {}


@pytest.mark.parametrize("response_name", ["length", "empty", "204", "304", "close", "http10", "chunked", "1xx", "large"])
@pytest.mark.parametrize("effect", ["nothing", "stream as is", "field"])
def test_the_frequent_exchange_needs_no_stream(response_name: str, effect: str) -> None:
    """Otherwise the layers would be held against themselves here."""
    deeds = {(0, "responseheaders"): Deed("", EFFECTS[effect])}
    octets = cut(RESPONSES[response_name], list(range(0, 70_200, 50)), "server")
    assert not handed_over(deeds, ("client", GET), *octets)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("deed", [Deed("kill", kill), Deed("waits", nothing, nothing), Deed("unknown", unknown)])
@pytest.mark.security
def test_what_is_not_frequent_becomes_a_stream(hook: str, deed: Deed) -> None:
    assert handed_over({(0, hook): deed}, ("client", GET), ("server", OK))


def test_the_exchange_after_one_of_the_layers_is_flat_again() -> None:
    flat = Watched(FlatHttpLayer, {}, HTTPMode.transparent, tls=True)
    flat.step("client", REQUESTS["body"])
    flat.step("server", OK)
    flat.step("client", GET)
    side = flat.layer.connections[flat.context.client]  # type: ignore[attr-defined]
    assert isinstance(side, StrictHttp1Server)
    assert not flat.layer.streams  # type: ignore[attr-defined]
    assert side.state == side.wait
