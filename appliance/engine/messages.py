"""Streams of messages that are judged one at a time: WebSocket messages, events, calls of gRPC.

A ``UnitReader`` finds the messages in what arrives, a ``Turnstile`` holds each until its ``Judge`` has spoken, and what goes
on are the bytes as they came. One message of a direction is judged at a time, and nothing more of it is read meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mitmproxy.http import HTTPFlow

from appliance.engine.inspection import Await, Outlet

JUDGES = {True: "arcus.judge.request", False: "arcus.judge.response"}
"""Where a flow's metadata has the judge of what the client sends (True) and of what the server sends."""
PAUSING = "arcus.judge.pausing"
"""The judge of a response that is held, for when it turns out to pause."""

POLICY_VIOLATION = 1008
TOO_BIG = 1009


@dataclass(frozen=True, slots=True)
class Unit:
    """What goes on together, as it came: ``wire``. ``data``: what of it is shown to a scanner; None: nothing is."""

    wire: bytes
    data: bytes | None = None
    packed: bool = False
    """``data`` is compressed in the way that the two sides agreed on."""
    text: bool = False
    flat: bytes | None = None
    """What of ``data`` continues what the units before it said, where that is not ``data``: lines without what ends them."""
    beside: bytes = b""
    """What else stands in it: names, comments, the head of a part."""
    broken: str = ""
    """Why nothing of it, nor of what follows, can be read."""
    whole: bool = True
    """False: this is the beginning of a message that is too large to be held; more of it comes as ``rest``."""
    crowded: bool = False
    """It is not whole because there was no memory left, not because of its own size."""
    rest: bool = False
    last: bool = True
    """A message ends with it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message does not go on, and nothing after it. ``code``: of a WebSocket's close frame (RFC 6455 section 7.4.1)."""

    code: int
    why: str
    """A reason's word, and its detail after a colon."""


class Judge(Protocol):
    """One direction of one flow."""

    limit: int
    """Bytes of one message that are held at most."""

    async def judge(self, unit: Unit) -> Refusal | None:
        """Whether a message may go on. Called for one after the other, in order."""

    def follow(self, unit: Unit) -> None:
        """More of a message that was not whole, which goes on unjudged."""

    def reader(self) -> "UnitReader | None":
        """What finds the messages in the body of a flow; None where the engine knows (WebSocket)."""

    def take(self, size: int) -> bool:
        """Reserve memory for what is held."""

    def give_back(self, size: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Judged:
    """Of several units that were judged together, how many may go on, and why no more of them."""

    passed: int
    refusal: Refusal | None = None


class BodyJudge(Judge, Protocol):
    """Of a body that is a stream of units."""

    pause: float | None
    """Seconds without a byte after which what is held is judged although its end has not come; None: it is waited for."""

    async def judge_all(self, units: Sequence[Unit]) -> Judged:
        """Units that came one after the other, and are there together."""

    def passed(self, size: int) -> None:
        """So many bytes went on."""

    def refused(self) -> None:
        """Nothing of an answer is with the client yet: put a page in place."""


class UnitReader(Protocol):
    """Finds the messages of one direction."""

    @property
    def held(self) -> int:
        """Bytes of a message whose end has not come."""

    def read(self, data: bytes) -> Iterator[Unit]: ...

    def end(self) -> Iterator[Unit]:
        """The stream is over: what is left."""

    def give_up(self) -> None:
        """There is no memory to hold the message that is arriving."""

    def flush(self) -> Iterator[Unit]:
        """What is held of a unit goes on before its end, where that can be judged; it is continued by the next."""


def past_its_judge(data: bytes) -> bytes:
    """How a body streams that has a judge: not at all, until ``JudgingStream`` holds it at a gate."""
    raise AssertionError(f"{len(data)} bytes of a body that has a judge were about to pass without him")


class Turnstile:
    """One direction. ``free``: nothing is held back, and the source may be read."""

    def __init__(self, flow: HTTPFlow, hook: str, reader: UnitReader, judge: Judge) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.asking: Await | None = None
        """The verdict that is waited for."""
        self._flow = flow
        self._hook = hook
        self._reader = reader
        self._judge = judge
        self._queue: deque[Unit] = deque()
        self._taken = 0

    def feed(self, data: bytes) -> None:
        """Take what arrived. Raises what the reader raises; the messages before that are kept."""
        for unit in self._reader.read(data):
            self._queue.append(unit)
        self._reserve()

    def end(self) -> None:
        self._queue.extend(self._reader.end())

    def ready(self) -> Iterator[Unit]:
        """What may go on now, in order. Where it stops because of a message that has no verdict yet, ``asking`` is new."""
        while self._queue and self.asking is None:
            unit = self._queue[0]
            if unit.data is None and not unit.rest:
                yield self._queue.popleft()
            elif unit.rest:
                self._judge.follow(unit)
                yield self._queue.popleft()
            else:
                self._ask()
        if self.asking is None:
            self._reserve()
            self.free.set()

    def answered(self) -> Unit:
        """The verdict is there: the message that it is about."""
        self.asking = None
        return self._queue.popleft()

    def close(self) -> None:
        """Nothing goes on any more."""
        if self.asking is not None:
            self.asking.cancel()
        self.asking = None
        self._queue.clear()
        self._judge.give_back(self._taken)
        self._taken = 0
        self.free.set()

    def _ask(self) -> None:
        self.free.clear()
        self.asking = Await(self._flow, self._hook, self._question(), lambda: True)

    def _question(self) -> Callable[[Outlet], Awaitable[object]]:
        """About the first in the queue."""
        unit = self._queue[0]
        return lambda _outlet: self._judge.judge(unit)

    def _reserve(self) -> bool:
        """Account for what is held. A message that finds no memory is given up: its judge decides what that means."""
        held = self._reader.held + sum(len(unit.wire) + len(unit.data or b"") for unit in self._queue)
        if held <= self._taken:
            self._judge.give_back(self._taken - held)
        elif not self._judge.take(held - self._taken):
            self._reader.give_up()
            return False
        self._taken = held
        return True
