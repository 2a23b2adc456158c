"""Streams whose bodies are judged while they arrive: what goes out, when, and what never does (C7)."""

from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy.http import HTTPFlow, Response
from mitmproxy.proxy import events

from appliance.engine.inspection import PLANS, Fate, Trickle, Waiting
from icap.client import Body
from tests.appliance.engine.jobs import JobDriver

GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Judge:
    """An inspection that says what the test says. ``page``: what a verdict puts in place of the message."""

    def __init__(self, fate: Fate = Fate.DELIVER, page: Callable[[], None] | None = None) -> None:
        self.body = self.shown = Body()
        self.fate = Fate.DELIVER
        self.why = "malware_found"
        self.started = False
        self.replacement: Body | None = None
        self.trickle: Trickle | None = None
        self.waiting: Waiting | None = None
        self.size = 0
        self.closed = False
        self._verdict, self._page = fate, page

    def feed(self, data: bytes) -> bytes:
        self.body.feed(data)
        return b""

    def end(self) -> None:
        self.body.end()

    async def judge(self) -> None:
        self.fate = self._verdict
        if self._page is not None:
            self._page()

    def passed(self, size: int) -> None:
        self.size += size

    def close(self) -> None:
        self.closed = True
        self.body.close()


class Large:
    """A plan for a body that is always too large."""

    above, at_once = 0, True

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def take(self, size: int) -> bool:
        return True

    def give_back(self, size: int) -> None:
        """Nothing is counted."""

    def start(self) -> Judge:
        return self.judge


class Inspecting(JobDriver):
    def __init__(self, judge: Judge, *, request: bool = False, **more: Any) -> None:
        name = "requestheaders" if request else "responseheaders"
        self.judge = judge

        def leave(flow: HTTPFlow) -> None:
            flow.metadata[PLANS[request]] = Large(judge)

        super().__init__(hooks={name: leave, **more})


@pytest.mark.parametrize(("head", "wire"), [(OK, b"0123456789"), (CHUNKED, b"a\r\n0123456789\r\n0\r\n\r\n")])
async def test_nothing_goes_out_before_the_verdict_and_then_everything(head: bytes, wire: bytes) -> None:
    driver = Inspecting(judge := Judge())
    driver.feed(GET)
    driver.upstreams[0].send(head + wire)
    assert driver.sent == b""
    await driver.finish_all()
    assert driver.sent.endswith(b"\r\n\r\n" + wire)
    assert driver.sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert driver.hooks_seen == ["requestheaders", "request", "responseheaders", "response"]
    assert (judge.size, judge.closed) == (10, True)


async def test_a_verdict_that_comes_early_lets_the_rest_flow() -> None:
    driver = Inspecting(judge := Judge())
    driver.feed(GET)
    driver.upstreams[0].send(OK + b"01234")
    await driver.finish_all()
    assert driver.sent.endswith(b"01234")
    driver.upstreams[0].send(b"567")
    assert driver.sent.endswith(b"01234567")
    assert "response" not in driver.hooks_seen, "the record is written at the end"
    driver.upstreams[0].send(b"89")
    assert driver.sent.endswith(b"0123456789")
    assert driver.hooks_seen[-1] == "response"
    assert judge.size == 10


@pytest.mark.security
async def test_a_page_takes_the_place_of_a_body_and_the_server_is_cut_off() -> None:
    def page() -> None:
        driver.flows[0].response = Response.make(403, b"blocked")

    driver = Inspecting(Judge(Fate.REPLACE, page))
    driver.feed(GET)
    driver.upstreams[0].send(OK + b"01234")
    await driver.finish_all()
    assert driver.sent.startswith(b"HTTP/1.1 403 ")
    assert b"01234" not in driver.sent
    assert driver.upstreams[0].closed


@pytest.mark.security
async def test_a_late_verdict_resets_who_has_the_beginning() -> None:
    judge = Judge(Fate.RESET)
    judge.trickle = Trickle(1.0, 3, 4)
    driver = Inspecting(judge)
    driver.feed(GET)
    driver.upstreams[0].send(CHUNKED + b"a\r\n0123456789\r\n")
    driver.run(events.Wakeup(driver.wakeups.pop()))
    driver.run(events.Wakeup(driver.wakeups.pop()))
    driver.run(events.Wakeup(driver.wakeups.pop()))
    assert driver.sent.endswith(b"3\r\n012\r\n3\r\n345\r\n"), "the last four bytes stay back, whatever the time"
    driver.upstreams[0].send(b"0\r\n\r\n")
    await driver.finish_all()
    assert driver.sent.endswith(b"3\r\n345\r\n"), "no last chunk"
    assert (driver.resets, driver.closed) == (1, True)
    assert driver.hooks_seen[-1] == "error"
    assert judge.closed


@pytest.mark.security
@pytest.mark.parametrize("started", [False, True])
async def test_a_judge_that_fails_never_lets_the_body_pass(started: bool) -> None:
    """Fail closed: the handler has put a page in place, or there is nothing but the reset."""
    judge = Judge()
    judge.trickle = Trickle(1.0, 3, 4)
    driver = Inspecting(judge)
    driver.feed(GET)
    driver.upstreams[0].send(OK + b"0123456789")
    if started:
        driver.run(events.Wakeup(driver.wakeups.pop()))
    driver.flows[0].response = driver.flows[0].response if started else Response.make(500, b"broken")
    await driver.finish(failed=True)
    assert not driver.awaits
    assert b"3456789" not in driver.sent
    assert driver.resets == int(started)
    assert driver.sent.startswith(b"HTTP/1.1 200 " if started else b"HTTP/1.1 500 ")


async def test_a_client_that_leaves_ends_the_judging_and_the_transfer() -> None:
    driver = Inspecting(judge := Judge())
    driver.feed(GET)
    driver.upstreams[0].send(OK + b"01234")
    cancelled = []
    driver.awaits[0].cancel = lambda: cancelled.append(True)
    driver.close()
    assert (cancelled, judge.closed, driver.upstreams[0].closed) == ([True], True, True)
    assert driver.hooks_seen[-1] == "error"


async def test_a_server_that_breaks_off_is_an_error_and_not_an_end() -> None:
    driver = Inspecting(judge := Judge())
    driver.feed(GET)
    driver.upstreams[0].send(OK + b"01234")
    driver.upstreams[0].close()
    assert driver.sent.startswith(b"HTTP/1.1 502 ")
    assert judge.closed
    assert driver.hooks_seen[-1] == "error"
    await driver.finish()
    assert b"01234" not in driver.sent


@pytest.mark.security
async def test_a_request_reaches_no_server_before_its_verdict() -> None:
    driver = Inspecting(judge := Judge(), request=True)
    driver.feed(POST + b"0123456789")
    assert driver.upstreams == []
    await driver.finish_all()
    assert driver.upstreams[0].received.endswith(b"\r\n\r\n0123456789")
    assert b"Content-Length: 10\r\n" in driver.upstreams[0].received
    driver.upstreams[0].send(OK + b"abcdefghij")
    assert driver.sent.endswith(b"abcdefghij")
    assert judge.size == 10


@pytest.mark.security
async def test_a_blocked_request_is_answered_before_it_is_complete() -> None:
    def page() -> None:
        driver.flows[0].response = Response.make(403, b"blocked")

    driver = Inspecting(Judge(Fate.REPLACE, page), request=True)
    driver.feed(POST + b"012")
    await driver.finish_all()
    assert driver.sent.startswith(b"HTTP/1.1 403 ")
    assert driver.upstreams == []
    assert driver.closed, "what is left of the request must not be read as the next one"


async def test_a_body_that_runs_ahead_of_its_reader_is_held_back() -> None:
    judge = Judge()
    judge.body = judge.shown = Body(window=4)
    driver = Inspecting(judge)
    driver.feed(GET)
    driver.upstreams[0].send(OK + b"0123")
    assert driver.holds == []
    driver.upstreams[0].send(b"4")
    assert [hold.source for hold in driver.holds] == [driver.upstreams[0].connection]
