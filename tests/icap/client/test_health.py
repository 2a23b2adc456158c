"""Whether a service scans: an infected and a clean message, from the start on (C22, ICP-14)."""

import asyncio
from collections.abc import Callable

import pytest

from appliance.domain.clock import ManualClock
from appliance.domain.verdict import Outcome
from icap.client import IcapService, ServiceEvent, Tuning
from icap.client.breaker import Breaker
from icap.client.probe import EICAR, Health
from icap.client.prober import Prober, Rhythm
from icap.client.standing import Standing, State
from icap.client.stats import ServiceStats
from tests.icap.client.messages import download, told
from tests.icap.client.peer import NO_CONTENT, OPTIONS, Talk, scripted
from tests.icap.client.test_service import INFECTED, PAGE, modified
from tests.ports import free_port

SOON = Rhythm(interval=0.05, timeout=5.0, revival=0.05)
RARELY = Rhythm(interval=3600.0, timeout=5.0, revival=3600.0)
FOUND = modified(PAGE, b"x", INFECTED)


class Scanner:
    """What the service does with the infected message, and with all others; may be changed while it runs."""

    def __init__(self, infected: bytes = FOUND, others: bytes = NO_CONTENT) -> None:
        self.infected, self.others = infected, others
        self.asked: list[bytes] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def __call__(self, talk: Talk) -> None:
        await talk.head()
        body = await talk.body()
        self.asked.append(body)
        await self.answering.wait()
        await talk.say(self.infected if EICAR in body else self.others)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_icap_c22_a_service_that_finds_eicar_and_passes_the_clean_one_is_up() -> None:
    async with scripted(Scanner()) as peer:
        service = IcapService(peer.uri, health=RARELY)
        service.start()
        assert service.standing.state is State.UNKNOWN
        await _until(lambda: service.standing.state is State.UP)
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()
    assert service.stats.probes == {"ok": 1}


@pytest.mark.parametrize(
    ("scanner", "words"),
    [
        (Scanner(infected=NO_CONTENT), "the infected test message came back clean"),
        (Scanner(others=FOUND), "the clean test message came back blocked"),
    ],
    ids=["passes everything, as c-icap started before clamd", "blocks everything"],
)
async def test_icap_c22_a_service_that_is_wrong_is_down_from_the_start(scanner: Scanner, words: str) -> None:
    """No message reaches it: the first one waits for the check, and the check says no."""
    scanner.asked = []
    async with scripted(scanner) as peer:
        service = IcapService(peer.uri, health=RARELY)
        adapted = await service.adapt(download(b"secret"))
        assert told(adapted) == (Outcome.ERROR, "icap_unhealthy")
        assert words in adapted.verdict.detail
        assert (service.standing.state, service.standing.detail.partition(":")[0]) == (State.DOWN, words)
        await service.close()
    assert not any(b"secret" in body for body in scanner.asked)


async def test_icap_c22_options_alone_do_not_make_it_healthy() -> None:
    """clamd is dead behind a service that answers OPTIONS with 200."""
    async with scripted(Scanner(infected=b"ICAP/1.0 500 Error\r\n\r\n")) as peer:
        service = IcapService(peer.uri, health=RARELY)
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_error")
        await service.close()
    assert peer.options_asked >= 1


async def test_icap_c22_down_and_up_again_by_itself() -> None:
    events = list[ServiceEvent]()
    scanner = Scanner()
    async with scripted(scanner) as peer:
        service = IcapService(peer.uri, health=SOON, on_event=events.append)
        service.start()
        await _until(lambda: service.standing.state is State.UP)
        scanner.infected = NO_CONTENT
        await _until(lambda: service.standing.state is State.DOWN)
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_unhealthy")
        scanner.infected = FOUND
        await _until(lambda: service.standing.state is State.UP)
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()
    assert [event.kind for event in events if event.kind in ("healthy", "down")] == ["healthy", "down", "healthy"]


async def test_icap_c38_a_suspended_service_is_revived_by_a_check_and_not_by_a_message() -> None:
    scanner = Scanner()
    clock = ManualClock()
    async with scripted(scanner) as peer:
        tuning = Tuning(failure_limit=2, revival_delay=0.05)
        service = IcapService(peer.uri, health=SOON, tuning=tuning, clock=clock)
        await service.adapt(download())
        scanner.others = b"ICAP/1.0 500 Error\r\n\r\n"
        for _ in range(2):
            await service.adapt(download())
        assert service.standing.state is State.SUSPENDED
        clock.advance(1.0)
        shown = len([body for body in scanner.asked if b"hello" in body])
        adapted = await service.adapt(download())
        assert adapted.verdict.outcome is Outcome.ERROR
        assert len([body for body in scanner.asked if b"hello" in body]) == shown
        scanner.others = NO_CONTENT
        await _until(lambda: service.standing.state is State.UP)
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()


async def test_icap_c22_one_check_at_a_time_and_a_hundred_messages_wait_for_it() -> None:
    scanner = Scanner()
    scanner.answering.clear()
    async with scripted(scanner) as peer:
        service = IcapService(peer.uri, health=RARELY)
        waiting = [asyncio.ensure_future(service.adapt(download())) for _ in range(100)]
        await _until(lambda: bool(scanner.asked))
        assert len(scanner.asked) == 1
        scanner.answering.set()
        assert {told(one) for one in await asyncio.gather(*waiting)} == {(Outcome.CLEAN, "ok")}
        await service.close()
    assert sum(EICAR in body for body in scanner.asked) == 1


async def test_icap_c22_a_check_that_gets_no_answer_ends() -> None:
    scanner = Scanner()
    scanner.answering.clear()
    async with scripted(scanner) as peer:
        service = IcapService(peer.uri, health=Rhythm(3600.0, 0.1, 3600.0))
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_timeout")
        await service.close()


async def test_icap_c22_a_message_does_not_wait_for_a_check_longer_than_it_may() -> None:
    scanner = Scanner()
    scanner.answering.clear()
    async with scripted(scanner) as peer:
        service = IcapService(peer.uri, health=RARELY, timeout=0.1)
        assert told(await service.adapt(download()))[0] is Outcome.ERROR
        await service.close()


async def test_icap_c22_where_only_requests_are_adapted_a_request_is_the_test() -> None:
    options = (OPTIONS % b"").replace(b"REQMOD, RESPMOD", b"REQMOD")
    async with scripted(Scanner(), options) as peer:
        service = IcapService(peer.uri, health=RARELY)
        service.start()
        await _until(lambda: service.standing.state is State.UP)
        await service.close()
    assert b"REQMOD" in peer.received
    assert b"RESPMOD" not in peer.received


async def test_icap_c22_a_busy_service_is_not_a_dead_one() -> None:
    """No connection is free for the check: that says nothing about the scanner, and the state stays."""
    scanner = Scanner()
    async with scripted(scanner) as peer:
        service = IcapService(peer.uri, health=SOON, max_connections=1, tuning=Tuning(max_waiting=0))
        service.start()
        await _until(lambda: service.standing.state is State.UP)
        scanner.answering.clear()
        asked = len(scanner.asked)
        busy = asyncio.ensure_future(service.adapt(download()))
        await _until(lambda: len(scanner.asked) > asked)
        await _until(lambda: service.stats.outcomes["error"] > 1)
        assert service.standing.state is State.UP
        scanner.answering.set()
        await busy
        await service.close()


async def test_icap_c22_nobody_listens() -> None:
    service = IcapService(f"icap://127.0.0.1:{free_port()}/s", health=RARELY)
    assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_unreachable")
    assert service.standing.state is State.DOWN
    await service.close()


async def test_icap_c22_a_service_that_is_no_scanner_is_greeted_only() -> None:
    async with scripted(Scanner(infected=NO_CONTENT)) as peer:
        service = IcapService(peer.uri)
        greeting = await service.greet()
        assert (greeting.ok, service.standing.state) == (True, State.UP)
        assert told(await service.adapt(download(EICAR))) == (Outcome.CLEAN, "ok")
        await service.close()


async def test_icap_c22_a_check_that_breaks_is_one_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours must not leave a service up that nobody checks any more."""

    async def check() -> Health:
        raise RuntimeError("ours")

    breaker = Breaker(3, 30.0, 3600.0, ManualClock())
    standing = Standing(breaker, ServiceStats(), lambda kind, detail="", /: None, checked=True)
    prober = Prober(check, standing, RARELY, lambda: 0.5)
    prober.start()
    await _until(lambda: standing.state is State.DOWN)
    await prober.close()
    assert standing.detail == "the check failed: RuntimeError"
    assert "the check of an ICAP service failed" in caplog.text
