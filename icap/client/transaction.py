"""One request and its answer over one connection."""

from dataclasses import dataclass

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.client.connection import Connection
from icap.protocol import Continue, Data, EndOfMessage, Headers, PreviewEnd, Request, Response

# One chunk may be the whole body (RFC 3507 section 6.3), but servers that hold a chunk in memory exist.
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. ``body`` is None for ``null-body``."""

    status: int
    headers: Headers
    request_head: bytes | None = None
    response_head: bytes | None = None
    body: bytes | None = None
    use_original_body: int | None = None
    reason: str = ""


async def exchange(connection: Connection, request: Request, body: bytes) -> Answer:
    """Send ``request`` with ``body`` as its preview allows, and read the answer to its end.

    Raises:
        ScanError: timeout, loss of the connection, an answer that is no ICAP.
    """
    connection.write(_opening(connection, request, body))
    pieces: list[bytes] = []
    answer: Response | None = None
    while True:
        event = await connection.event()
        match event:
            case Data():
                pieces.append(event.data)
            case Response():
                answer = event
            case Continue():
                connection.write(_body(connection, body[request.preview or 0 :]))
            case EndOfMessage() if answer is not None:
                return _answer(answer, pieces, event)
            case _:
                raise ScanError(Reason.ICAP_PROTOCOL, "the server closed instead of answering")


def _opening(connection: Connection, request: Request, body: bytes) -> list[bytes]:
    wire = connection.wire
    head = wire.send(request)
    if not request.body:
        return [head]
    if request.preview is None:
        return [head, *_body(connection, body)]
    if len(body) <= request.preview:
        return [head, wire.send(Data(body)), wire.send(EndOfMessage(ieof=True))]
    return [head, wire.send(Data(body[: request.preview])), wire.send(PreviewEnd())]


def _body(connection: Connection, body: bytes) -> list[bytes]:
    wire = connection.wire
    chunks = [wire.send(Data(body[at : at + _CHUNK])) for at in range(0, len(body), _CHUNK)]
    return [*chunks, wire.send(EndOfMessage())]


def _answer(response: Response, pieces: list[bytes], end: EndOfMessage) -> Answer:
    return Answer(
        response.status,
        response.headers,
        response.request_head,
        response.response_head,
        b"".join(pieces) if response.body else None,
        end.use_original_body,
        response.reason,
    )
