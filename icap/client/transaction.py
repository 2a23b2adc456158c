"""One request and its answer over one connection."""

import asyncio
from dataclasses import dataclass

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.client.body import Body
from icap.client.connection import Connection
from icap.protocol import Continue, Data, EndOfMessage, Headers, PreviewEnd, Request, Response

# One chunk may be the whole body (RFC 3507 section 6.3), but servers that hold a chunk in memory exist.
_CHUNK = 1024 * 1024
MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of an answer that is held in memory: the answer to a body that is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. ``body`` is None for ``null-body``, and a ``Body`` in answer to one."""

    status: int
    headers: Headers
    request_head: bytes | None = None
    response_head: bytes | None = None
    body: bytes | Body | None = None
    use_original_body: int | None = None
    reason: str = ""
    sha256: str = ""
    """Of the body that was judged, where it was computed in this process."""


async def exchange(connection: Connection, request: Request, body: bytes | Body) -> Answer:
    """Send ``request`` with ``body`` as its preview allows, and read the answer to its end.

    A ``Body`` is sent as it arrives; of one with a preview, as much as the preview has to be there.

    Raises:
        ScanError: timeout, loss of the connection, an answer that is no ICAP, or what the body was aborted with.
    """
    if isinstance(body, Body):
        return await _stream(connection, request, body)
    return await _whole(connection, request, body)


async def _whole(connection: Connection, request: Request, body: bytes) -> Answer:
    connection.write(_opening(connection, request, body))
    pieces: list[bytes] = []
    held = 0
    answer: Response | None = None
    while True:
        event = await connection.event()
        match event:
            case Data():
                pieces.append(event.data)
                held += len(event.data)
                if held > MAX_ANSWER:
                    raise ScanError(Reason.ICAP_PROTOCOL, f"an answer over {MAX_ANSWER} bytes")
            case Response():
                answer = event
            case Continue():
                connection.write(_body(connection, body[request.preview or 0 :]))
            case EndOfMessage() if answer is not None:
                return _answer(answer, b"".join(pieces), event)
            case _:
                raise ScanError(Reason.ICAP_PROTOCOL, "the server closed instead of answering")


async def _stream(connection: Connection, request: Request, body: Body) -> Answer:
    """Writer and reader at once: the answer may begin, and end, while the body is still arriving."""
    received = body.another()
    sender: asyncio.Task[None] | None = None
    try:
        if _open(connection, request, body):
            sender = _sending(connection, body, 0)
        answer: Response | None = None
        while True:
            event = await connection.event()
            match event:
                case Data():
                    received.feed(event.data)
                    connection.moved(len(event.data))
                case Response():
                    answer = event
                case Continue():
                    sender = _sending(connection, body, request.preview or 0)
                case EndOfMessage() if answer is not None:
                    received.end()
                    return _answer(answer, received, event)
                case _:
                    raise ScanError(Reason.ICAP_PROTOCOL, "the server closed instead of answering")
    except BaseException:
        received.close()
        raise
    finally:
        if sender is not None:
            sender.cancel()


def _open(connection: Connection, request: Request, body: Body) -> bool:
    """Send the head, with the preview if there is one. True: the rest is to be sent at once."""
    wire, preview = connection.wire, request.preview
    head = wire.send(request)
    if not request.body or preview is None:
        connection.write([head])
        return request.body
    if body.ended and body.size <= preview:
        connection.write([head, wire.send(Data(body.read(0, preview))), wire.send(EndOfMessage(ieof=True))])
    else:
        connection.write([head, wire.send(Data(body.read(0, preview))), wire.send(PreviewEnd())])
    return False


def _sending(connection: Connection, body: Body, offset: int) -> asyncio.Task[None]:
    async def send() -> None:
        try:
            await _send(connection, body, offset)
        except Exception as error:
            connection.give_up(error)

    return asyncio.get_running_loop().create_task(send())


async def _send(connection: Connection, body: Body, offset: int) -> None:
    wire = connection.wire
    with body.reader(offset) as reader:
        while True:
            if reader.starved:
                connection.pause()
            piece = await reader.next()
            connection.resume()
            if not piece:
                break
            connection.write([wire.send(Data(piece))])
            connection.moved(len(piece))
            await connection.drained()
    connection.write([wire.send(EndOfMessage())])
    connection.all_sent(body.size)


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


def _answer(response: Response, body: bytes | Body, end: EndOfMessage) -> Answer:
    return Answer(
        response.status,
        response.headers,
        response.request_head,
        response.response_head,
        body if response.body else None,
        end.use_original_body,
        response.reason,
    )
