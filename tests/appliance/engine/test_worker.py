"""How a worker stops: open tasks get the drain time, idle connections none."""

import asyncio
from types import SimpleNamespace
from typing import Any

from appliance.config.server import HttpProxy
from appliance.domain.reason import Reason
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

    def __init__(self, idle: bool) -> None:
        self.idle = idle
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
        self.listener = Listener(config, bind("127.0.0.1", 0, 10, reuse_port=False), self._serve, lambda ip, reason: None)
        self.port = self.listener._sock.getsockname()[1]
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
    running = asyncio.create_task(place.worker.run(place.stop, lambda: 0.05))
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
