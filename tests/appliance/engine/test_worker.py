"""How a worker stops: open tasks get the drain time, idle connections none."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.config.server import HttpProxy
from appliance.domain.reason import Reason
from appliance.engine import worker as module
from appliance.engine.deadlines import Deadlines
from appliance.engine.listener import Listener, bind
from appliance.engine.worker import Worker
from tests.appliance.engine.gates import server


class Stream:
    closed = False

    def close(self) -> None:
        self.closed = True


class Handler:
    """A handler with or without a request in progress."""

    def __init__(self, idle: bool, idle_for: float = 0.0) -> None:
        self.idle = idle
        self.idle_for = idle_for
        self.aborted: list[Reason] = []

    def abort(self, reason: Reason, detail: str = "") -> None:
        self.aborted.append(reason)


def session(handler: Handler | None = None, *, relaying: bool = False) -> Any:
    return SimpleNamespace(handler=handler, relaying=relaying, stream=Stream())


class Place:
    def __init__(self, *sessions: Any) -> None:
        config = server()
        assert isinstance(config, HttpProxy)
        self.ended = asyncio.Event()
        self.cut = False
        self.listener = Listener(config, [bind("127.0.0.1", 0, 10, reuse_port=False)], self._serve, lambda ip, reason: None)
        self.port = self.listener.socks[0].getsockname()[1]
        self.stop = asyncio.Event()
        reception: Any = SimpleNamespace(sessions=set(map(Hashed, sessions)))
        self.worker = Worker([self.listener], [reception], Deadlines())

    async def _serve(self, sock: Any, peer: object, local: object) -> None:
        with sock:
            try:
                await self.ended.wait()
            except asyncio.CancelledError:
                self.cut = True
                raise

    async def connect(self) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while not self.worker.active:
            await asyncio.sleep(0)
        return writer


class Hashed:
    """A namespace that can be in a set."""

    def __init__(self, inner: Any) -> None:
        self.__dict__ = inner.__dict__


async def test_open_tasks_finish_within_the_drain_time() -> None:
    place = Place()
    running = asyncio.create_task(place.worker.run(place.stop, lambda: 30.0))
    await asyncio.sleep(0)
    writer = await place.connect()
    place.stop.set()
    done, _ = await asyncio.wait((running,), timeout=0.05)
    assert not done
    place.ended.set()
    await asyncio.wait_for(running, 10)
    assert not place.cut
    writer.close()


async def test_what_is_left_at_the_end_is_cut() -> None:
    place = Place()
    ends = asyncio.get_running_loop().time() + 0.05
    running = asyncio.create_task(place.worker.run(place.stop, lambda: ends - asyncio.get_running_loop().time()))
    await asyncio.sleep(0)
    writer = await place.connect()
    place.stop.set()
    await asyncio.wait_for(running, 10)
    assert place.cut
    assert place.worker.active == 0
    writer.close()


async def test_nothing_is_accepted_any_more() -> None:
    place = Place()
    place.stop.set()
    await place.worker.run(place.stop, lambda: 0.0)
    try:
        await asyncio.open_connection("127.0.0.1", place.port)
    except ConnectionRefusedError:
        return
    raise AssertionError("the port still answers")


async def test_idle_connections_are_closed_at_once_and_busy_ones_are_not() -> None:
    idle, busy = Handler(idle=True), Handler(idle=False)
    waiting, relaying = session(), session(relaying=True)
    place = Place(session(idle), session(busy), waiting, relaying)
    place.stop.set()
    await place.worker.run(place.stop, lambda: 0.0)
    assert (idle.aborted, busy.aborted) == ([Reason.SHUTTING_DOWN], [])
    assert (waiting.stream.closed, relaying.stream.closed) == (True, False)


async def test_c20_a_worker_that_was_replaced_gives_idle_connections_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.3)
    fresh, stale, waiting = Handler(idle=True, idle_for=0.0), Handler(idle=True, idle_for=1.0), session()
    place = Place(session(fresh), session(stale), waiting)
    running = asyncio.create_task(place.worker.run(place.stop, lambda: 30.0, lambda: True))
    await asyncio.sleep(0)
    writer = await place.connect()
    place.stop.set()
    await asyncio.sleep(0.05)
    assert (fresh.aborted, waiting.stream.closed) == ([], False)
    assert stale.aborted == [Reason.SHUTTING_DOWN]
    async with asyncio.timeout(10):
        while not waiting.stream.closed:
            await asyncio.sleep(0.01)
    assert fresh.aborted == []
    place.ended.set()
    await asyncio.wait_for(running, 10)
    writer.close()


async def test_c20_haste_that_comes_later_ends_the_patience() -> None:
    idle = Handler(idle=True, idle_for=0.0)
    place, gentle, left = Place(session(idle)), [True], [30.0]
    running = asyncio.create_task(place.worker.run(place.stop, lambda: left[0], lambda: gentle[0]))
    await asyncio.sleep(0)
    writer = await place.connect()
    place.stop.set()
    await asyncio.sleep(0.05)
    assert idle.aborted == []
    gentle[0], left[0] = False, 0.0
    await asyncio.wait_for(running, 10)
    assert idle.aborted
    assert place.cut
    writer.close()
