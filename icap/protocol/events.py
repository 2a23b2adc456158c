"""What travels over an ICAP connection, in either direction."""

from dataclasses import dataclass, field

from icap.protocol.headers import NO_FIELDS, Headers

OPTIONS = "OPTIONS"
REQMOD = "REQMOD"
RESPMOD = "RESPMOD"

REASONS = {
    100: "Continue",
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "ICAP Service Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    418: "Bad Composition",
    500: "Server Error",
    501: "Method Not Implemented",
    502: "Bad Gateway",
    503: "Service Overloaded",
    505: "ICAP Version Not Supported",
}


@dataclass(frozen=True, slots=True)
class Request:
    """The head of an ICAP request with its encapsulated header sections.

    Received: ``headers`` holds every field. Sent: the core writes Encapsulated and Preview, and refuses them in ``headers``.
    ``request_head`` and ``response_head`` are raw HTTP/1 header blocks that end in one CRLF CRLF.
    """

    method: str
    uri: str
    headers: Headers = field(default_factory=Headers)
    request_head: bytes | None = None
    response_head: bytes | None = None
    body: bool = False
    """Whether body bytes follow; no body is ``null-body`` on the wire."""
    preview: int | None = None
    """Value of Preview: at most so many bytes come before the sender waits. None is no preview; 0 is one."""

    @property
    def allow(self) -> frozenset[str]:
        return self.headers.tokens("Allow")


@dataclass(frozen=True, slots=True)
class Response:
    """The head of an ICAP answer, never 100. ``encapsulated`` (received only) tells whether that header was there."""

    status: int
    headers: Headers = field(default_factory=Headers)
    request_head: bytes | None = None
    response_head: bytes | None = None
    body: bool = False
    reason: str = ""
    encapsulated: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Continue:
    """100 Continue: the rest of the body after the preview is wanted."""


@dataclass(frozen=True, slots=True)
class Data:
    """Body bytes. Chunk boundaries carry no meaning and are not kept."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PreviewEnd:
    """The preview is complete and the body is longer: the sender waits for 100 Continue or the answer."""


@dataclass(frozen=True, slots=True)
class EndOfMessage:
    """The message is complete.

    ``ieof``: the whole body fitted into the preview. ``use_original_body``: offset in the original body from which a
    206 answer continues (``0; use-original-body=N``), None when nothing is to be appended.
    """

    ieof: bool = False
    use_original_body: int | None = None
    trailers: Headers = NO_FIELDS


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The peer closed between messages."""


type RequestEvent = Request | Data | PreviewEnd | EndOfMessage | ConnectionClosed
type ResponseEvent = Continue | Response | Data | EndOfMessage | ConnectionClosed
