"""Streams of units through the layers: what goes on, when, and how one ends that must not go on (C7)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from mitmproxy.connection import Connection
from mitmproxy.http import HTTPFlow, Response
from mitmproxy.proxy import events
from mitmproxy.test.tflow import tflow

from appliance.engine.body_gate import BodyGate
from appliance.engine.inspection import Outlet
from appliance.engine.messages import JUDGES, PAUSING, Judged, Refusal, Unit, UnitReader, past_its_judge
from appliance.engine.units.events import EventReader
from appliance.engine.units.pauses import PauseReader
from tests.appliance.engine.http import h2_peer
from tests.appliance.engine.jobs import JobDriver

GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Judge:
    """Refuses what holds ``bad``, and nothing else."""

    def __init__(
        self, reader: type[EventReader | PauseReader] = EventReader, limit: int = 100, pause: float | None = None
    ) -> None:
        self.limit = limit
        self.pause = pause
        self.size = 0
        self.runs: list[list[Unit]] = []
        self.taken = 0
        self.flow: HTTPFlow | None = None
        self._reader = reader

    def reader(self) -> UnitReader:
        return self._reader(self.limit)

    async def judge(self, unit: Unit) -> Refusal | None:
        raise AssertionError("asked about a run")

    async def judge_all(self, units: Sequence[Unit]) -> Judged:
        self.runs.append(list(units))
        for index, unit in enumerate(units):
            if b"bad" in (unit.data or b"") or not unit.whole:
                return Judged(index, Refusal(1008, "malware_found: X"))
        return Judged(len(units))

    def follow(self, unit: Unit) -> None:
        raise AssertionError("nothing follows what was refused")

    def take(self, size: int) -> bool:
        self.taken += size
        return True

    def give_back(self, size: int) -> None:
        self.taken -= size

    def passed(self, size: int) -> None:
        self.size += size

    def refused(self) -> None:
        assert self.flow is not None
        self.flow.response = Response.make(403, b"page")


class Judging(JobDriver):
    def __init__(self, judge: Judge, *, request: bool = False, key: str = "", **more: Any) -> None:
        def leave(flow: HTTPFlow) -> None:
            judge.flow = flow
            flow.metadata[key or JUDGES[request]] = judge
            if request:
                flow.request.stream = True
            elif flow.response is not None and not key:
                flow.response.stream = True

        super().__init__(hooks={"requestheaders" if request else "responseheaders": leave}, **more)


def answering(judge: Judge, **more: Any) -> Judging:
    driver = Judging(judge, **more).feed(GET)
    assert isinstance(driver, Judging)
    driver.upstreams[0].send(OK)
    return driver


async def test_c7_the_head_goes_on_at_once_and_a_unit_when_it_was_judged() -> None:
    driver = answering(judge := Judge())
    assert driver.take() == OK
    driver.upstreams[0].send(chunk(b"data: a\n"))
    assert driver.awaits == [], "half an event is none"
    driver.upstreams[0].send(chunk(b"\nda"))
    assert driver.take() == b""
    assert len(driver.holds) == 1
    await driver.finish_all()
    assert driver.take() == chunk(b"data: a\n\n")
    driver.upstreams[0].send(chunk(b"ta: b\n\n") + b"0\r\n\r\n")
    assert b"0\r\n" not in driver.take()
    await driver.finish_all()
    assert driver.take() == chunk(b"data: b\n\n") + b"0\r\n\r\n"
    assert (judge.size, judge.taken, driver.closed) == (18, 0, False)
    assert driver.hooks_seen[-1] == "response"


async def test_c7_units_that_are_there_together_are_judged_together_and_go_on_in_order() -> None:
    driver = answering(judge := Judge(limit=20))
    driver.take()
    stream = b"".join(b"data: %02d\n\n" % n for n in range(25))
    driver.upstreams[0].send(chunk(stream))
    await driver.finish_all()
    assert driver.take().replace(b"a\r\n", b"").replace(b"\r\n", b"") == stream
    assert [len(run) for run in judge.runs] == [8, 8, 8, 1]


@pytest.mark.security
async def test_c7_an_infected_unit_ends_both_sides_and_nothing_after_it_goes_on() -> None:
    driver = answering(judge := Judge())
    driver.take()
    driver.upstreams[0].send(chunk(b"data: one\n\ndata: bad\n\ndata: two\n\n"))
    await driver.finish_all()
    assert driver.take() == chunk(b"data: one\n\n")
    assert (driver.resets, driver.closed, driver.upstreams[0].closed) == (1, True, True)
    assert driver.hooks_seen[-1] == "error"
    assert driver.flows[0].error is not None
    assert driver.flows[0].error.msg == "malware_found: X"
    assert judge.taken == 0


@pytest.mark.security
async def test_c7_a_judge_that_fails_lets_nothing_pass() -> None:
    driver = answering(Judge())
    driver.take()
    driver.upstreams[0].send(chunk(b"data: one\n\n"))
    await driver.finish(failed=True)
    assert (driver.take(), driver.resets, driver.closed) == (b"", 1, True)


@pytest.mark.security
async def test_lim_04_a_unit_that_is_too_large_is_asked_about_by_itself() -> None:
    driver = answering(judge := Judge(limit=10))
    driver.take()
    driver.upstreams[0].send(chunk(b"data: ok\n\n") + chunk(b"data: " + b"x" * 11))
    await driver.finish_all()
    assert driver.take() == chunk(b"data: ok\n\n")
    assert [[unit.whole for unit in run] for run in judge.runs] == [[True], [False]]
    assert driver.closed


async def test_c7_a_server_that_breaks_off_ends_the_stream_and_what_waits_is_given_back() -> None:
    driver = answering(judge := Judge())
    driver.take()
    driver.upstreams[0].send(chunk(b"data: one\n\nda"))
    cancelled = []
    driver.awaits[0].cancel = lambda: cancelled.append(True)
    driver.upstreams[0].close()
    assert (cancelled, judge.taken, driver.hooks_seen[-1]) == ([True], 0, "error")
    assert b"0\r\n\r\n" not in driver.take()


async def test_c7_a_client_that_leaves_cancels_the_scan_and_the_server_s_transfer() -> None:
    driver = answering(judge := Judge())
    driver.upstreams[0].send(chunk(b"data: one\n\n"))
    cancelled = []
    driver.awaits[0].cancel = lambda: cancelled.append(True)
    driver.close()
    assert (cancelled, judge.taken, driver.upstreams[0].closed) == ([True], 0, True)


async def test_c7_a_request_goes_on_unit_by_unit() -> None:
    driver = Judging(judge := Judge(), request=True)
    driver.feed(POST)
    received = driver.upstreams[0].received
    assert received.endswith(b"\r\n\r\n")
    received.clear()
    driver.feed(chunk(b"data: a\n\n") + b"0\r\nX-Sum: 1\r\n\r\n")
    assert received == b""
    await driver.finish_all()
    assert bytes(received) == chunk(b"data: a\n\n") + b"0\r\nX-Sum: 1\r\n\r\n"
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert driver.take().endswith(b"\r\n\r\nok")
    assert judge.size == 9


@pytest.mark.security
async def test_c7_where_no_answer_has_begun_an_infected_request_is_answered_with_a_page() -> None:
    driver = Judging(Judge(), request=True)
    driver.feed(POST)
    driver.upstreams[0].received.clear()
    driver.feed(chunk(b"data: bad\n\n"))
    await driver.finish_all()
    sent = driver.take()
    assert sent.startswith(b"HTTP/1.1 403 ")
    assert sent.endswith(b"page")
    assert (bytes(driver.upstreams[0].received), driver.upstreams[0].closed) == (b"", True)


@pytest.mark.security
async def test_c7_where_an_answer_has_begun_it_is_broken_off() -> None:
    driver = Judging(Judge(), request=True)
    driver.feed(POST)
    driver.upstreams[0].send(OK + chunk(b"partial"))
    driver.feed(chunk(b"data: bad\n\n"))
    await driver.finish_all()
    assert (driver.resets, driver.closed, driver.upstreams[0].closed) == (1, True, True)


async def test_c7_a_request_that_ends_with_its_head_is_no_stream() -> None:
    """Its place is the hook at its end, where its head is judged."""
    driver = Judging(Judge(), request=True, client_h2=True)
    peer = h2_peer.Peer()
    driver.feed(
        h2_peer.preface()
        + peer.headers(1, [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")])
    )
    assert driver.flows[0].request.stream is False


@pytest.mark.security
async def test_c7_over_http_2_only_the_stream_is_reset() -> None:
    driver = Judging(Judge(), client_h2=True)
    peer = h2_peer.Peer()
    head = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"example.com")]
    driver.feed(h2_peer.preface() + peer.headers(1, head))
    driver.upstreams[0].send(OK + chunk(b"data: bad\n\n"))
    driver.take()
    await driver.finish_all()
    frames = driver.take()
    assert h2_peer.reset(1, 0)[3:9] in frames
    assert (driver.resets, driver.closed) == (0, False)


async def test_c7_both_sides_of_a_call_end_in_any_order_and_trailers_go_on() -> None:
    """And once both talk, silence of the client is no slow upload."""

    def streams(flow: HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.stream = True

    driver = Judging(Judge(), request=True)
    driver.hooks["responseheaders"] = streams
    driver.feed(POST)
    driver.upstreams[0].send(OK + chunk(b"early"))
    assert driver.uploading == [True]
    driver.upstreams[0].send(b"0\r\nGrpc-Status: 0\r\n\r\n")
    driver.feed(chunk(b"data: late\n\n") + b"0\r\n\r\n")
    await driver.finish_all()
    assert driver.take().endswith(b"0\r\nGrpc-Status: 0\r\n\r\n")


async def test_lim_04_a_unit_waits_for_room_at_the_other_side_and_its_source_is_not_read_meanwhile() -> None:
    driver = answering(judge := Judge())
    driver.take()
    opened = asyncio.Event()

    async def room(connection: Connection, stream_id: int) -> None:
        assert connection is driver.context.client
        await opened.wait()

    driver.room = room  # type: ignore[method-assign]
    driver.upstreams[0].send(chunk(b"data: a\n\n"))
    job = asyncio.ensure_future(driver.finish())
    held = asyncio.ensure_future(driver.holds[0].until())  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert (judge.runs, held.done(), driver.take()) == ([], False, b"")
    opened.set()
    await job
    await held
    assert driver.take() == chunk(b"data: a\n\n")


async def test_lim_04_an_http_2_connection_is_read_again_although_a_unit_waits() -> None:
    """What gives room to its other direction comes by it: neither may wait for the other for ever."""
    driver = Judging(Judge(), request=True, client_h2=True)
    peer, opened = h2_peer.Peer(), asyncio.Event()

    async def room(connection: Connection, stream_id: int) -> None:
        await opened.wait()

    driver.room = room  # type: ignore[method-assign]
    head = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]
    driver.feed(h2_peer.preface() + peer.headers(1, head, end=False) + h2_peer.data(1, b"data: a\n\n", end=False))
    job = asyncio.ensure_future(driver.finish())
    (hold,) = driver.holds
    assert hold.source is driver.context.client
    await hold.until()
    assert not job.done()
    opened.set()
    await job
    assert driver.upstreams[0].received.endswith(chunk(b"data: a\n\n"))


@pytest.mark.security
async def test_c7_a_body_that_has_a_judge_passes_by_no_other_way() -> None:
    """Whatever streams it by the flow's own function fails."""
    with pytest.raises(AssertionError, match="without him"):
        past_its_judge(b"data")


async def test_c7_a_held_body_that_pauses_goes_on_and_one_that_does_not_is_left_alone() -> None:
    driver = answering(judge := Judge(PauseReader, pause=1.0), key=PAUSING)
    driver.upstreams[0].send(chunk(b"one"))
    driver.upstreams[0].send(chunk(b"two"))
    (first,) = driver.wakeups
    driver.run(events.Wakeup(first))
    assert driver.take() == b"", "more has come since"
    driver.run(events.Wakeup(driver.wakeups[1]))
    await driver.finish_all()
    assert driver.take() == OK + chunk(b"onetwo")
    driver.upstreams[0].send(chunk(b"bad"))
    driver.run(events.Wakeup(driver.wakeups[2]))
    await driver.finish_all()
    assert (driver.take(), driver.closed, judge.size) == (b"", True, 6)


async def test_c7_a_pause_after_the_end_means_nothing() -> None:
    driver = answering(Judge(PauseReader, pause=1.0), key=PAUSING)
    driver.upstreams[0].send(chunk(b"one") + b"0\r\n\r\n")
    driver.run(events.Wakeup(driver.wakeups[0])) if driver.wakeups else None
    assert driver.take().endswith(b"one")


async def _no_room(_outlet: Outlet) -> None:
    """Everything was taken."""


@pytest.mark.security
def test_lim_04_events_that_say_nothing_are_asked_about_once() -> None:
    judge = Judge()
    gate = BodyGate(tflow(), judge.reader(), judge, _no_room)
    stream = b"\n" * 10_000 + b"data: a\n\n" + b"\r\n" * 10_000
    gate.feed(stream)
    assert [unit.data for unit in gate._queue] == [b"", b"a", b""]
    assert b"".join(unit.wire for unit in gate._queue) == stream


@pytest.mark.security
def test_lim_04_what_stands_beside_the_data_counts_for_what_is_judged_together() -> None:
    judge = Judge(limit=100)
    gate = BodyGate(tflow(), judge.reader(), judge, _no_room)
    gate.feed((b": " + b"x" * 60 + b"\n\n") * 3)
    assert [len(gate._together())] == [1]


class _Small(Judge):
    """There is memory for 1000 bytes."""

    def take(self, size: int) -> bool:
        return self.taken + size <= 1000 and super().take(size)


@pytest.mark.security
def test_lim_04_units_that_find_no_memory_while_another_waits_are_given_up() -> None:
    """By HTTP/2 a connection is read again although a unit waits: what comes then has its limit too."""
    judge = _Small()
    gate = BodyGate(tflow(), judge.reader(), judge, _no_room)
    event = b"data: " + b"x" * 80 + b"\n\n"
    for _ in range(20):
        gate.feed(event)
        list(gate.ready())
    crowded = [unit.crowded for unit in gate._queue]
    assert crowded == sorted(crowded)
    assert 0 < crowded.index(True) < 10
    assert judge.taken <= 1000
    gate.close()
    assert judge.taken == 0


@pytest.mark.security
def test_lim_04_the_more_waits_the_less_is_read() -> None:
    judge = Judge(limit=1 << 20)
    gate = BodyGate(tflow(), judge.reader(), judge, _no_room)
    first = gate.patience
    gate.feed((b"data: " + b"x" * 1000 + b"\n\n") * 1000)
    assert gate.patience > 20 * first
