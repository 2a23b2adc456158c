"""What every parser must hold to, whatever bytes it gets: one function for each target, driven by hypothesis, by the seeds in
``corpus``, and by atheris (``make fuzz``).

A target returns for bytes that are refused as they should be, and raises for anything else.
"""

import random
from collections.abc import Callable
from pathlib import Path

from icap.protocol import (
    ClientConnection,
    Continue,
    Data,
    EndOfMessage,
    Headers,
    Limits,
    PreviewEnd,
    RemoteProtocolError,
    Request,
    Response,
    ServerConnection,
    ServiceOptions,
    TruncatedMessage,
    parse_head,
)
from icap.protocol.buffer import ReceiveBuffer
from icap.protocol.chunks import ChunkDecoder
from icap.protocol.encapsulated import LEGAL_IN_REQUEST, LEGAL_IN_RESPONSE, parse_encapsulated
from icap.protocol.events import RequestEvent, ResponseEvent
from icap.protocol.headers import parse_fields
from tests.icap import reference

CORPUS = Path(__file__).parent / "corpus"
LIMITS = Limits(header_bytes=4096, section_bytes=4096, body_bytes=1 << 20, trailer_bytes=1024, chunk_line=256)

type Target = Callable[[bytes], None]


def _pieces(data: bytes) -> list[bytes]:
    """The same bytes always in the same pieces, small ones and large ones."""
    dice = random.Random(data)
    pieces = []
    while data:
        size = dice.choice((1, 2, 3, 17, len(data)))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def server(data: bytes) -> None:
    """Requests: in one read and in pieces they mean the same, and what the slow reference says."""
    expected = reference.requests(data, LIMITS)
    for pieces in ([data] if data else [], _pieces(data)):
        events, taken = _requests(pieces)
        whole = list(reference.assemble(events))
        assert whole == expected[0], f"{whole} is not {expected[0]}"
        assert taken == expected[1], "one refuses what the other takes"


def _requests(pieces: list[bytes]) -> tuple[list[object], bool]:
    """Events with neighbouring Data joined, each request answered at its end; whether all of it was taken."""
    connection = ServerConnection(LIMITS)
    events: list[object] = []
    try:
        for piece in pieces:
            found = connection.receive_data(piece)
            while found:
                _join(events, found)
                found = _go_on(connection)
    except RemoteProtocolError:
        return events, False
    assert len(connection._buffer) <= LIMITS.pending_bytes
    return events, True


def _go_on(connection: ServerConnection) -> list[RequestEvent]:
    """Ask for the rest after a preview, answer at the end of a request."""
    reading = connection.reading.name
    if reading == "DECISION":
        assert b"100 Continue" in connection.send(Continue())
        return connection.next_events()
    if reading == "DONE" and connection.writing.name == "IDLE":
        connection.send(Response(404))
        return [] if connection.must_close else connection.next_events()
    return []


def _join(events: list[object], found: "list[RequestEvent] | list[ResponseEvent]") -> None:
    for event in found:
        if isinstance(event, Data) and events and isinstance(events[-1], Data):
            events[-1] = Data(events[-1].data + event.data)
        else:
            events.append(event)


def client(data: bytes) -> None:
    """Answers: in one read and in pieces they mean the same; nothing but our own errors comes out."""
    for preview, allow in ((None, "204, 206"), (4, "204, 206"), (4, "trailers")):
        whole, pieces = _answers([data] if data else [], preview, allow), _answers(_pieces(data), preview, allow)
        assert whole[:2] == pieces[:2], "the cut of the bytes changes their meaning"


def _answers(pieces: list[bytes], preview: int | None, allow: str) -> tuple[list[object], bool, bool]:
    connection = ClientConnection(LIMITS)
    heads = (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")
    connection.send(Request("RESPMOD", "icap://h/s", Headers.of(("Allow", allow)), *heads, True, preview))
    connection.send(Data(b"abcd"))
    connection.send(EndOfMessage() if preview is None else PreviewEnd())
    events: list[object] = []
    try:
        for piece in pieces:
            if connection.receiving.name == "DONE":
                break  # bytes behind an answer: in the same read they are left over, later they are an error
            _join(events, connection.receive_data(piece))
            if connection.sending.name == "BODY":
                connection.send(EndOfMessage())
    except TruncatedMessage:
        raise AssertionError("nothing was closed") from None
    except RemoteProtocolError:
        return [], False, False  # how far a message was read before it is refused may differ: it is not used
    return events, True, connection.reusable


def chunks(data: bytes) -> None:
    """A chunked body: as the slow reference reads it."""
    found = []
    for pieces in ([data], _pieces(data)):
        buffer, decoder, body, fine = ReceiveBuffer(), ChunkDecoder(LIMITS), b"", True
        try:
            for piece in pieces:
                buffer.feed(piece)
                body += decoder.decode(buffer)
        except RemoteProtocolError:
            fine = False
        found.append((body, decoder.ieof, decoder.use_original_body, len(buffer)) if fine and decoder.done else fine)
    assert found[0] == found[1], "the cut of the bytes changes their meaning"
    expected = reference.chunked(data, LIMITS)
    if isinstance(expected, reference.Chunked):
        left = len(data) - expected.end
        assert found[0] == (expected.body, expected.ieof, expected.offset, left)
    else:
        assert found[0] is expected


def fields(data: bytes) -> None:
    """A header block: read, written, and read again it is the same; and what a parser for one line at a time makes of it."""
    text = data.decode("latin-1")
    expected = reference.fields(text, Limits())
    try:
        headers = parse_fields(text)
    except RemoteProtocolError:
        assert expected is None, expected
        return
    assert list(headers.fields) == expected
    assert parse_fields(headers.serialise().removesuffix("\r\n")) == headers
    ServiceOptions.parse(headers)


def head(data: bytes) -> None:
    """An encapsulated HTTP head: what is taken is written as it was read."""
    try:
        found = parse_head(data)
    except RemoteProtocolError:
        return
    assert parse_head(bytes(found)) == found


def encapsulated(data: bytes) -> None:
    """An Encapsulated value: what is taken starts at 0 and grows, in every kind of message."""
    for legal in (*LEGAL_IN_REQUEST.values(), *LEGAL_IN_RESPONSE.values()):
        try:
            found = parse_encapsulated(data.decode("latin-1"), legal)
        except RemoteProtocolError:
            continue
        assert sum(size for _, size in found.heads) == found.head_bytes
        assert all(size > 0 for _, size in found.heads)


TARGETS: dict[str, Target] = {
    "server": server,
    "client": client,
    "chunks": chunks,
    "fields": fields,
    "head": head,
    "encapsulated": encapsulated,
}


def seeds(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())
