"""What goes into an adaptation and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from appliance.domain.verdict import ScanVerdict
from icap.client.body import Body

type Method = Literal["REQMOD", "RESPMOD"]
type Kind = Literal["unmodified", "request", "response"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is behind a message; what is empty is not sent."""

    client_ip: str = ""
    user: str = ""
    tenant: str = ""
    subscriber: str = ""
    server_ip: str = ""
    """The origin's address, never that of a next proxy."""


class Head:
    """An HTTP/1 head that is written when its bytes are asked for: a scanner that judges by the body never does."""

    __slots__ = ("_block", "_write")

    def __init__(self, write: Callable[[], bytes]) -> None:
        """``write`` is asked once at most, before the message has its verdict."""
        self._write = write
        self._block = b""

    def __bytes__(self) -> bytes:
        if not self._block:
            self._block = self._write()
        return self._block


@dataclass(frozen=True, slots=True)
class Message:
    """One HTTP message to adapt.

    Heads are HTTP/1 blocks that end in CRLF CRLF, hop-by-hop fields and transfer coding already taken out (``encapsulate``).
    The request line carries the absolute URL, so that the service sees scheme and host. ``body`` None or empty: no body.
    A ``Body`` may still be arriving; it stays the caller's, who closes it.
    """

    method: Method
    request_head: bytes | Head
    response_head: bytes | Head | None = None
    body: bytes | Body | None = None
    identity: Identity = field(default_factory=Identity)
    task_id: str = ""
    tenant: str = ""
    """Whose message it is: whose kept verdicts may be used for it. Never sent."""
    once: bool = False
    """The same body will hardly come again: its verdict is neither looked for nor kept."""
    sha256: str = ""
    """Of ``body`` in hex, from who has just computed it and hands this very message on; empty: not known."""
    coding: bytes | None = None
    """The body's Content-Encoding, all lines of it joined by commas, in lower case; None: it stands in the head."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """The service's answer.

    ``kind`` says what ``head`` and ``body`` are: ``unmodified``: neither, use the original. ``request``: the request to send
    instead. ``response``: the response to deliver, also in place of a request (request satisfaction, or a block page).
    With ``Outcome.BLOCKED`` and no head the caller writes the page. Heads are repaired: HTTP/1.1, right Content-Length.
    A ``Body`` (only in answer to one) is complete, and the caller's to close.
    """

    verdict: ScanVerdict
    kind: Kind = "unmodified"
    head: bytes | None = None
    body: bytes | Body | None = None
    links: tuple[ScanVerdict, ...] = ()
    """Where several services were asked: the verdict of each, in the order in which they were. ``verdict`` is then what
    becomes of the message."""

    @property
    def verdicts(self) -> tuple[ScanVerdict, ...]:
        """The verdict of every service that was asked."""
        return self.links or (self.verdict,)


class Service(Protocol):
    """Whatever adapts messages: one service, or something that holds services. Never raises for what a service or the
    network does; until ``adapt`` has returned, nothing of its answer has gone anywhere."""

    async def adapt(self, message: Message) -> Adapted: ...
