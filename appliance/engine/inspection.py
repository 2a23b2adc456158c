"""Bodies that are judged while they arrive: what the engine and an addon say to each other.

An addon leaves a ``Plan`` on a flow when the head is there. When the body turns out larger than the plan holds in memory,
the stream starts an ``Inspection``, feeds it, and waits for its fate without standing still. What has been judged goes on
from the inspection's body, as fast as the other side takes it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mitmproxy.connection import Connection
from mitmproxy.http import HTTPFlow, Response
from mitmproxy.proxy import commands, events

from icap.client import Body

PLANS = {True: "arcus.plan.request", False: "arcus.plan.response"}
"""Where a flow's metadata has the plan for its request (True) and for its response."""


class Fate(Enum):
    """What becomes of a body."""

    DELIVER = "deliver"
    """It goes on as it is."""
    REPLACE = "replace"
    """Something else goes in its place: the flow's message was exchanged, ``replacement`` is its body if it is a large one."""
    RESET = "reset"
    """Part of it has gone out, the rest must not: the client's stream is broken off."""


@dataclass(frozen=True, slots=True)
class Trickle:
    """What a client gets before the verdict. Seconds, bytes per second, bytes."""

    after: float
    rate: int
    withhold: int
    """The last bytes that have come stay back, whatever their time."""


class Waiting(Protocol):
    """What becomes of a body when its client gets a page in its place (``addons.waiting``)."""

    after: float
    """Seconds until then."""

    def begin(self, cancel: Callable[[], None]) -> Response | None:
        """The page for the client. ``cancel`` ends the scan and the server's transfer. None: this client waits as others do."""

    def arriving(self) -> Awaitable[None]:
        """Wait until a judged body has come, or will not."""

    def concluded(self, *, whole: bool, why: str) -> None:
        """Once, after ``begin``. ``whole``: every octet has come and is held. Whether there is a verdict, only the inspection
        knows: one that was cancelled has none. ``why``: what the server's transfer ended with, if it is not whole."""


class Inspection(Protocol):
    """One body. ``started``: the engine says that some of the message has gone out. ``why``: words for the flow's error."""

    body: Body
    shown: Body
    """What the service reads: the same, or the body with its codings undone."""
    fate: Fate
    why: str
    started: bool
    replacement: Body | None
    trickle: Trickle | None
    waiting: Waiting | None
    """Of a response whose client may get a page instead of waiting."""

    def feed(self, data: bytes) -> bytes:
        """Take what arrived. What is returned was not taken, and nothing will be after it: it waits for the verdict."""

    def end(self) -> None:
        """The body is complete."""

    async def judge(self) -> None:
        """Wait for the verdict, set ``fate``, and exchange the flow's message where that is wanted."""

    def passed(self, size: int) -> None:
        """So many bytes went on to the other side."""

    def close(self) -> None:
        """Nobody needs the bytes any more."""


class Plan(Protocol):
    above: int
    """Bytes that are held in memory before an inspection starts."""
    at_once: bool
    """The body is known to be larger."""

    def take(self, size: int) -> bool:
        """Reserve memory; False: there is none left, so the body has to be inspected as it arrives."""

    def give_back(self, size: int) -> None: ...

    def start(self) -> Inspection: ...


class Outlet(Protocol):
    """The handler, as jobs see it."""

    async def room(self, connection: Connection, stream_id: int) -> None:
        """Wait until the other side has taken most of what it was sent."""


class Await(commands.Command):
    """The handler awaits ``job`` and tells its result in ``Awaited``; the layer goes on meanwhile.

    ``busy``: whether the job works, rather than waiting for a peer's bytes, so that no phase's time runs. When the job
    raises, it is the failed hook ``hook`` of ``flow``.
    """

    def __init__(self, flow: HTTPFlow, hook: str, job: Callable[[Outlet], Awaitable[object]], busy: Callable[[], bool]) -> None:
        self.flow = flow
        self.hook = hook
        self.job = job
        self.busy = busy
        self.cancel: Callable[[], object] = _nothing


@dataclass(repr=False)
class Awaited(events.CommandCompleted):
    command: Await
    reply: object
    failed: bool = False


class Hold(commands.Command):
    """Read no more from ``source`` until ``until`` is over."""

    def __init__(self, source: Connection, until: Callable[[], Awaitable[object]]) -> None:
        self.source = source
        self.until = until


class Reset(commands.Command):
    """Break the client's connection off with a reset: what has arrived there must not pass for a whole message."""


class Apart(commands.Command):
    """The response of ``flow`` goes on without its client, who was answered; ``over``: it does no longer."""

    def __init__(self, flow: HTTPFlow, *, over: bool) -> None:
        self.flow = flow
        self.over = over


class Uploading(commands.Command):
    """A request goes on to its server before it is complete; ``over``: now it is, and the answer is waited for."""

    def __init__(self, flow: HTTPFlow, *, over: bool) -> None:
        self.flow = flow
        self.over = over


def _nothing() -> None:
    """Not begun."""
