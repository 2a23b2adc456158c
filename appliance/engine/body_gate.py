"""One direction of a body that is a stream of units: each waits for its verdict, and goes on as it came."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from typing import Final

from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands

from appliance.engine.inspection import Outlet
from appliance.engine.messages import BodyJudge, Judged, Turnstile, Unit, UnitReader

TOGETHER: Final = 8
"""Units that are judged at the same time, when so many are there: in a burst nobody should wait for the sum of all scans."""

_PATIENCE: Final = 0.25
"""Seconds for which an HTTP/2 connection is not read because a unit of one of its streams waits."""

_READ: Final = 64 * 1024
"""Bytes of one read."""

type Room = Callable[[Outlet], Awaitable[None]]


class BodyGate(Turnstile):
    """``room``: waits until what was sent on has been taken. ``over``: the body has ended."""

    def __init__(self, flow: HTTPFlow, reader: UnitReader, judge: BodyJudge, room: Room) -> None:
        super().__init__(flow, "error", reader, judge)
        self.judge = judge
        self.over = False
        self.waking: commands.RequestWakeup | None = None
        self._body_reader = reader
        self._room = room
        self._run: list[Unit] = []
        self._fed = 0
        self._fed_then = 0

    def feed(self, data: bytes) -> None:
        self._fed += 1
        arrived = list(_empty_together(self._body_reader.read(data)))
        waits = self.asking is not None
        self._queue.extend(arrived)
        if not self._reserve() and waits:
            self._crowd(len(arrived))

    def _crowd(self, count: int) -> None:
        """There is no memory for the last ``count`` units, which came while another waited: their judge decides."""
        for index in range(len(self._queue) - count, len(self._queue)):
            unit = self._queue[index]
            if unit.data is not None and not unit.rest:
                self._queue[index] = replace(unit, whole=False, crowded=True)

    def end(self) -> None:
        self.over = True
        super().end()

    def settled(self, passed: int) -> Iterator[Unit]:
        """The verdict is there: the first ``passed`` of those that it is about, which may go on."""
        self.asking = None
        for _ in self._run:
            unit = self._queue.popleft()
            if passed > 0:
                yield unit
            passed -= 1

    async def free_or_soon(self) -> None:
        """By an HTTP/2 connection comes as well what gives room to the other direction: two that wait for each other's must go
        on. What is read meanwhile is little, and taken from the room for bodies."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                await self.free.wait()

    @property
    def patience(self) -> float:
        """Seconds: the more waits, the longer; a server that sends more than is judged must not fill the memory."""
        return _PATIENCE * (1 + self._taken // _READ)

    def watch(self) -> commands.RequestWakeup | None:
        """What to wake up by, where something is held whose end may be long in coming."""
        if self.judge.pause is None or self.waking is not None or self.over or not self._body_reader.held:
            return None
        self._fed_then = self._fed
        self.waking = commands.RequestWakeup(self.judge.pause)
        return self.waking

    def woken(self) -> None:
        """If nothing has come meanwhile, its end is not waited for."""
        self.waking = None
        if self._fed == self._fed_then and not self.over:
            self.flush()

    def flush(self) -> None:
        """What is held is judged as it is."""
        self._queue.extend(self._body_reader.flush())

    def _question(self) -> Callable[[Outlet], Awaitable[Judged]]:
        run = self._run = self._together()

        async def ask(outlet: Outlet) -> Judged:
            await self._room(outlet)
            return await self.judge.judge_all(run)

        return ask

    def _together(self) -> list[Unit]:
        """Those at the head of the queue that can be judged at once."""
        first, size = self._queue[0], 0
        if not first.whole or first.broken:
            return [first]
        run: list[Unit] = []
        for unit in takewhile(_plain, self._queue):
            size += len(unit.data or b"") + len(unit.beside)
            if run and (size > self.judge.limit or len(run) == TOGETHER):
                break
            run.append(unit)
        return run


def _plain(unit: Unit) -> bool:
    return unit.data is not None and not unit.rest and unit.whole and not unit.broken


def _empty_together(units: Iterable[Unit]) -> Iterator[Unit]:
    """Those that say nothing, one after the other, as one: 64 KiB of line feeds are as many events, and each would be asked
    about."""
    wire = bytearray()
    for unit in units:
        if _says_nothing(unit):
            wire += unit.wire
            continue
        if wire:
            yield Unit(bytes(wire), b"")
            wire.clear()
        yield unit
    if wire:
        yield Unit(bytes(wire), b"")


def _says_nothing(unit: Unit) -> bool:
    return unit.data == b"" and not (unit.beside or unit.packed) and unit.last and _plain(unit)
