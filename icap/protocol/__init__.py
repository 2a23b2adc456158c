"""ICAP/1.0 (RFC 3507) without I/O: bytes in, events out; events in, bytes out.

Server's end::

    connection = ServerConnection(Limits())
    for event in connection.receive_data(data):     # b"" = the peer closed
        match event:
            case Request():            # method, uri, headers, request_head, response_head, body, preview
                ...
            case Data(data): ...       # body bytes, merged over chunks
            case PreviewEnd():         # more exists: send Continue() or the answer
                transport.write(connection.send(Continue())); more = connection.next_events()
            case EndOfMessage(): ...   # ieof tells that the preview was everything
            case ConnectionClosed(): ...
    connection.send(Response(204, Headers.of(("ISTag", '"x"'))))
    connection.send(Response(200, headers, response_head=b"HTTP/1.1 ...", body=True))
    connection.send(Data(b"...")) + connection.send(EndOfMessage())
    if connection.complete and not connection.must_close:
        events = connection.next_events()           # starts the next request, pipelined bytes included

``receive_data`` raises ``RemoteProtocolError``: answer ``Response(error.status)`` (``Connection: close`` is added) and
close; ``TruncatedMessage``: close without an answer. ``may_send_204`` and ``Request.allow`` say which answers the client
takes; ``send`` raises ``LocalProtocolError`` for one it does not. While ``paused``, do not read from the socket.

Client's end::

    connection = ClientConnection(Limits())
    connection.send(Request("RESPMOD", uri, headers, request_head, response_head, body=True, preview=1024))
    connection.send(Data(first)) + connection.send(PreviewEnd())           # or EndOfMessage(ieof=True)
    connection.receive_data(data)                   # Continue() | Response | Data | EndOfMessage | ConnectionClosed
    connection.send(Data(rest)) + connection.send(EndOfMessage())          # only after Continue()
    if connection.reusable: connection.next_cycle()

The core writes Encapsulated and Preview itself. Heads are raw HTTP/1 blocks that end in one CRLF CRLF; ``httphead`` parses
and cleans them. ``ServiceOptions`` parses and writes what OPTIONS answers.
"""

from icap.protocol.client import ClientConnection
from icap.protocol.errors import IcapError, LimitExceeded, LocalProtocolError, RemoteProtocolError, TruncatedMessage
from icap.protocol.events import (
    OPTIONS,
    REASONS,
    REQMOD,
    RESPMOD,
    ConnectionClosed,
    Continue,
    Data,
    EndOfMessage,
    PreviewEnd,
    Request,
    RequestEvent,
    Response,
    ResponseEvent,
)
from icap.protocol.headers import Field, Headers
from icap.protocol.httphead import HttpHead, encapsulate, end_to_end, parse_head, repair
from icap.protocol.limits import DEFAULT_LIMITS, Limits
from icap.protocol.options import ServiceOptions, Transfer
from icap.protocol.server import ServerConnection

__all__ = [
    "DEFAULT_LIMITS",
    "OPTIONS",
    "REASONS",
    "REQMOD",
    "RESPMOD",
    "ClientConnection",
    "ConnectionClosed",
    "Continue",
    "Data",
    "EndOfMessage",
    "Field",
    "Headers",
    "HttpHead",
    "IcapError",
    "LimitExceeded",
    "Limits",
    "LocalProtocolError",
    "PreviewEnd",
    "RemoteProtocolError",
    "Request",
    "RequestEvent",
    "Response",
    "ResponseEvent",
    "ServerConnection",
    "ServiceOptions",
    "Transfer",
    "TruncatedMessage",
    "encapsulate",
    "end_to_end",
    "parse_head",
    "repair",
]
