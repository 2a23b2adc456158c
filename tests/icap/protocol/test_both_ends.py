"""The two ends against each other, over every split of the bytes."""

from hypothesis import given
from hypothesis import strategies as st

from icap.protocol import (
    ClientConnection,
    Continue,
    Data,
    EndOfMessage,
    Headers,
    PreviewEnd,
    RemoteProtocolError,
    Request,
    Response,
    ServerConnection,
)

TOKEN = st.text("abcXYZ019-_", min_size=1, max_size=10).map(lambda name: f"X-{name}")
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
HEADERS = st.lists(st.tuples(TOKEN, VALUE), max_size=5).map(lambda fields: Headers(tuple(fields)))
LINES = st.lists(st.binary(min_size=1, max_size=20).filter(lambda line: b"\r" not in line and b"\n" not in line), max_size=4)
REQUEST_HEAD = LINES.map(lambda lines: b"\r\n".join([b"GET / HTTP/1.1", *lines]) + b"\r\n\r\n")
RESPONSE_HEAD = LINES.map(lambda lines: b"\r\n".join([b"HTTP/1.1 200 OK", *lines]) + b"\r\n\r\n")
BODY = st.binary(max_size=300)


class Line:
    """One direction of a connection that cuts what it carries wherever it is told."""

    def __init__(self, cuts: list[int]) -> None:
        self.cuts = cuts or [1]
        self.turn = 0

    def split(self, wire: bytes) -> list[bytes]:
        parts = []
        while wire:
            size = self.cuts[self.turn % len(self.cuts)]
            self.turn += 1
            parts.append(wire[:size])
            wire = wire[size:]
        return parts


def deliver(receiver: ClientConnection | ServerConnection, line: Line, wire: bytes) -> list[object]:
    """Events in order, neighbouring Data joined: how a body is cut is no part of it."""
    events: list[object] = []
    for part in line.split(wire):
        for event in receiver.receive_data(part):
            if isinstance(event, Data) and events and isinstance(events[-1], Data):
                events[-1] = Data(events[-1].data + event.data)
            else:
                events.append(event)
    return events


def body_events(body: bytes, end: object) -> list[object]:
    return [*([Data(body)] if body else []), end]


@given(st.data())
def test_exchanges_on_one_connection(data: st.DataObject) -> None:
    client, server = ClientConnection(), ServerConnection()
    line = Line(data.draw(st.lists(st.integers(1, 40), max_size=5)))
    for number in range(data.draw(st.integers(1, 3))):
        if number:
            client.next_cycle()
            assert server.next_events() == []
        exchange(data, client, server, line)
        assert client.reusable
        assert server.complete


def exchange(data: st.DataObject, client: ClientConnection, server: ServerConnection, line: Line) -> None:
    method = data.draw(st.sampled_from(["REQMOD", "RESPMOD"]))
    body = data.draw(BODY)
    preview = data.draw(st.one_of(st.none(), st.integers(0, 320))) if body else None
    sent = Request(
        method,
        "icap://h:1344/s",
        data.draw(HEADERS).plus(("Allow", "204, 206")),
        data.draw(REQUEST_HEAD),
        data.draw(RESPONSE_HEAD) if method == "RESPMOD" else None,
        bool(body),
        preview,
    )
    wanted_rest = send_request(client, server, line, sent, body)
    if wanted_rest is not None and data.draw(st.booleans()):
        assert deliver(client, line, server.send(Continue())) == [Continue()]
        wire = client.send(Data(wanted_rest)) + client.send(EndOfMessage())
        assert deliver(server, line, wire) == body_events(wanted_rest, EndOfMessage())
    answer(data, client, server, line)


def send_request(client: ClientConnection, server: ServerConnection, line: Line, sent: Request, body: bytes) -> bytes | None:
    """Send what the client may send on its own; the rest of the body when a preview holds it back."""
    wire, rest, end = client.send(sent), None, EndOfMessage()
    if sent.body and (sent.preview is None or sent.preview >= len(body)):
        end = EndOfMessage(ieof=sent.preview is not None)
        wire += client.send(Data(body)) + client.send(end)
    elif sent.body:
        body, rest = body[: sent.preview], body[sent.preview :]
        wire += client.send(Data(body)) + client.send(PreviewEnd())
    received = deliver(server, line, wire)
    assert isinstance(received[0], Request)
    assert without_written(received[0]) == sent
    if sent.body:
        assert received[1:] == body_events(body, PreviewEnd() if rest is not None else end)
    return rest


def without_written(request: Request) -> Request:
    """A received request less the fields that the core writes, to be compared with what was sent."""
    fields = tuple(field for field in request.headers if field[0] not in ("Encapsulated", "Preview"))
    heads = (request.request_head, request.response_head)
    return Request(request.method, request.uri, Headers(fields), *heads, request.body, request.preview)


def answer(data: st.DataObject, client: ClientConnection, server: ServerConnection, line: Line) -> None:
    headers = data.draw(HEADERS)
    body = data.draw(BODY)
    head = data.draw(RESPONSE_HEAD)
    status = data.draw(st.sampled_from([200, 206]))
    end = EndOfMessage(use_original_body=data.draw(st.integers(0, 9)) if status == 206 else None)
    wire = server.send(Response(status, headers, response_head=head, body=True))
    wire += server.send(Data(body)) + server.send(end)
    received = deliver(client, line, wire)
    first = received[0]
    assert isinstance(first, Response)
    assert (first.status, first.response_head, first.body) == (status, head, True)
    assert first.headers.fields[:-1] == headers.fields
    assert received[1:] == body_events(body, end)


@given(st.binary(max_size=300), st.integers(1, 300))
def test_a_server_survives_garbage(garbage: bytes, cut: int) -> None:
    server, status = ServerConnection(), 0
    try:
        for part in Line([cut]).split(garbage):
            server.receive_data(part)
    except RemoteProtocolError as error:
        status = error.status
    assert not server.complete
    if status:
        assert status in (400, 413, 501, 505)
        assert server.send(Response(status)).startswith(b"ICAP/1.0 ")


@given(st.binary(max_size=300), st.integers(1, 300))
def test_a_client_survives_garbage(garbage: bytes, cut: int) -> None:
    client = ClientConnection()
    client.send(Request("OPTIONS", "icap://h/s"))
    try:
        for part in Line([cut]).split(b"ICAP/1.0 200 OK\r\n" + garbage):
            client.receive_data(part)
    except RemoteProtocolError:
        assert not client.reusable
    else:
        assert not client.reusable or garbage.endswith(b"\r\n\r\n") or garbage == b"\r\n"
