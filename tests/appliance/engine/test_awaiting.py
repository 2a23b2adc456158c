"""A body's verdict that never comes: the handler's part of ``engine.inspection``."""

import asyncio

import pytest
from mitmproxy.proxy import events
from mitmproxy.test.tflow import tflow

from appliance.config.server import Timeouts
from appliance.engine.handler import TaskHandler
from appliance.engine.inspection import Await, Awaited, Outlet
from appliance.engine.phases import Phases
from appliance.engine.streaming import Streaming


class Bare(TaskHandler):
    """A handler without a connection."""

    def __init__(self) -> None:
        self.streaming = Streaming(Phases(Timeouts(), tls=False))
        self._over = self._aborted = False
        self.failed: list[str] = []
        self.answers: list[Awaited] = []

    def _hook_failed(self, name: str, args: tuple[object, ...], error: BaseException) -> None:
        self.failed.append(f"{name}: {type(error).__name__}")

    def _process(self, event: events.Event) -> None:
        assert isinstance(event, Awaited)
        self.answers.append(event)


def waiting_for(future: "asyncio.Future[None]") -> Await:
    async def job(_outlet: Outlet) -> None:
        await future

    return Await(tflow(), "responseheaders", job, lambda: False)


@pytest.mark.security
async def test_a_scan_that_was_cancelled_from_within_is_no_verdict() -> None:
    """security: what it waited for went away. The layer must not take its silence for leave to deliver."""
    handler, future = Bare(), asyncio.get_running_loop().create_future()
    running = asyncio.ensure_future(handler._await(waiting_for(future)))
    await asyncio.sleep(0)
    future.cancel()
    await running
    assert [answer.failed for answer in handler.answers] == [True]
    assert handler.failed == ["responseheaders: CancelledError"]


async def test_a_scan_that_nobody_wants_any_more_has_not_failed() -> None:
    handler, future = Bare(), asyncio.get_running_loop().create_future()
    command = waiting_for(future)
    running = asyncio.ensure_future(handler._await(command))
    await asyncio.sleep(0)
    command.cancel()
    await running
    assert [answer.failed for answer in handler.answers] == [False]
    assert handler.failed == []
