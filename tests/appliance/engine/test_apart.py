"""Bodies whose client was answered with a page: they go on without it, and nothing unjudged comes of them (C7)."""

from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy.http import HTTPFlow, Response
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import HTTPMode

from appliance.engine.apart import DELIVERY
from appliance.engine.inspection import Apart, Awaited, Fate
from appliance.engine.task_http import TaskHttpLayer
from icap.client import Body
from tests.appliance.engine.test_adapting import CHUNKED, GET, OK, Inspecting, Judge
from tests.engine_driver import Driver

PAGE = b"<p>wait</p>"


class Waiting:
    """Takes every client that it may, unless it has no ``room``."""

    after = 5.0

    def __init__(self, judge: Judge, *, room: bool = True) -> None:
        self.judge, self.room = judge, room
        self.cancel: Callable[[], None] | None = None
        self.ends: list[tuple[bool, str]] = []

    def begin(self, cancel: Callable[[], None]) -> Response | None:
        self.cancel = cancel
        return Response.make(202, PAGE) if self.room else None

    async def arriving(self) -> None:
        await self.judge.body.complete()

    def concluded(self, *, whole: bool, why: str) -> None:
        self.ends.append((whole, why))


class Leaving(Inspecting):
    def __init__(self, judge: Judge, *, room: bool = True, **more: Any) -> None:
        self.parted: list[bool] = []
        self.waiting = Waiting(judge, room=room)
        judge.waiting = self.waiting
        super().__init__(judge, **more)

    def _execute(self, command: commands.Command) -> None:
        if isinstance(command, Apart):
            self.parted.append(command.over)
        else:
            super()._execute(command)

    def leave(self) -> None:
        """The time is over."""
        self.run(events.Wakeup(self.wakeups.pop(0)))


def started(judge: Judge | None = None, wire: bytes = OK + b"01234", **more: Any) -> Leaving:
    driver = Leaving(judge or Judge(), **more)
    driver.feed(GET)
    driver.upstreams[0].send(wire)
    return driver


async def test_the_client_gets_the_page_and_the_body_goes_on() -> None:
    driver = started()
    driver.leave()
    assert driver.take().startswith(b"HTTP/1.1 202 ")
    assert driver.parted == [False]
    driver.upstreams[0].send(b"56789")
    assert driver.waiting.ends == [], "there is no verdict yet"
    await driver.finish_all()
    assert (driver.waiting.ends, driver.parted) == ([(True, "")], [False, True])
    assert (driver.judge.closed, bytes(driver.judge.body.read(0, 99))) == (False, b"0123456789")
    assert (driver.sent, driver.hooks_seen) == (b"", ["requestheaders", "request", "responseheaders"])


async def test_the_connection_serves_the_next_request_meanwhile() -> None:
    driver = started()
    driver.leave()
    driver.take()
    driver.hooks.clear()
    driver.feed(GET)
    driver.upstreams[1].send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
    assert driver.take().endswith(b"next")
    driver.upstreams[0].send(b"56789")
    await driver.finish_all()
    assert driver.waiting.ends == [(True, "")]


async def test_a_client_that_closes_changes_nothing() -> None:
    driver = started()
    driver.leave()
    driver.close()
    driver.upstreams[0].send(b"56789")
    await driver.finish_all()
    assert driver.waiting.ends == [(True, "")]


async def test_where_no_page_is_to_be_had_the_client_waits() -> None:
    driver = started(room=False)
    driver.leave()
    assert driver.sent == b""
    driver.upstreams[0].send(b"56789")
    await driver.finish_all()
    assert driver.sent.endswith(b"0123456789")
    assert driver.waiting.ends == []


async def test_a_verdict_in_time_needs_no_page() -> None:
    driver = started(wire=OK + b"0123456789")
    await driver.finish_all()
    assert driver.take().endswith(b"0123456789")
    driver.leave()
    assert (driver.sent, driver.waiting.cancel) == (b"", None)


@pytest.mark.security
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_body_that_is_broken_off_is_not_whole(when: str) -> None:
    """Its server went away, before the verdict, or after one that came early."""
    driver = started(wire=CHUNKED + b"5\r\n01234\r\n")
    driver.leave()
    if when == "after":
        await driver.finish()
        assert driver.waiting.ends == []
    driver.upstreams[0].close()
    driver.run(Awaited(driver.awaits.pop(0), None))  # what the handler says of a job that was cancelled
    ((whole, why),) = driver.waiting.ends
    assert not whole
    assert why.startswith("upstream_closed")
    assert driver.parted == [False, True]


@pytest.mark.security
async def test_a_download_that_is_given_up_cuts_the_server_off() -> None:
    driver = started()
    driver.leave()
    assert driver.waiting.cancel is not None
    driver.awaits[0].cancel = lambda: driver.run(Awaited(driver.awaits.pop(0), None))
    driver.waiting.cancel()
    assert driver.waiting.ends == [(False, "")]
    assert driver.upstreams[0].closed


@pytest.mark.security
@pytest.mark.parametrize("fate", [Fate.REPLACE, Fate.RESET])
async def test_what_is_stopped_is_cut_off_at_once(fate: Fate) -> None:
    driver = started(Judge(fate))
    driver.leave()
    await driver.finish()
    assert driver.waiting.ends == [(False, "")]
    assert driver.upstreams[0].closed
    assert b"01234" not in driver.sent


@pytest.mark.security
async def test_a_judge_that_fails_ends_it() -> None:
    driver = started()
    driver.leave()
    await driver.finish(failed=True)
    assert driver.waiting.ends == [(False, "")]
    assert driver.upstreams[0].closed


async def test_a_verdict_before_the_end_of_the_body_waits_for_it() -> None:
    driver = started()
    driver.leave()
    await driver.finish()
    assert driver.waiting.ends == []
    driver.upstreams[0].send(b"56789")
    await driver.finish()
    assert driver.waiting.ends == [(True, "")]


async def test_a_handler_that_ends_gives_it_up() -> None:
    driver = started()
    driver.leave()
    assert isinstance(driver.layer, TaskHttpLayer)
    driver.layer.release()
    assert driver.waiting.ends == [(False, "shutting_down")]
    assert driver.judge.closed


async def test_on_a_proxy_s_own_port_the_connection_ends_with_the_page() -> None:
    """A CONNECT may follow on it, which needs a handler of its own."""
    judge = Judge()
    driver = Leaving(judge)
    driver.layer.mode = HTTPMode.regular  # type: ignore[attr-defined]
    driver.feed(GET)
    driver.upstreams[0].send(OK + b"01234")
    driver.leave()
    assert b"Connection: close" in driver.sent
    assert driver.closed


# -- an answer from a file ---------------------------------------------------------------------------------------------------


class Filed(Driver):
    layer_type = TaskHttpLayer

    def __init__(self, judge: Judge) -> None:
        self.awaits: list[Any] = []

        def answer(flow: HTTPFlow) -> None:
            flow.response = Response.make(200, b"", {"Content-Length": "10"})
            flow.response.headers["Content-Length"] = "10"
            flow.response.data.content = None
            flow.metadata[DELIVERY] = judge

        super().__init__(HTTPMode.transparent, hooks={"requestheaders": answer})

    def _execute(self, command: commands.Command) -> None:
        if hasattr(command, "job"):
            self.awaits.append(command)
        else:
            super()._execute(command)

    async def room(self, *_: object) -> None:
        """There always is."""


async def test_the_body_of_our_own_answer_comes_from_where_it_lies() -> None:
    judge = Judge()
    judge.body = judge.shown = Body()
    judge.body.feed(b"0123456789")
    judge.body.end()
    driver = Filed(judge)
    driver.feed(GET)
    while driver.awaits:
        command = driver.awaits.pop(0)
        driver.run(Awaited(command, await command.job(driver)))
    assert driver.take().endswith(b"\r\n\r\n0123456789")
    assert [name for name, _ in driver.seen] == ["requestheaders", "request", "responseheaders", "response"]
    assert (judge.size, judge.closed, driver.upstreams) == (10, True, [])
