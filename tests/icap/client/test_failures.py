"""Everything a service or a network can do wrong, and what the verdict says then."""

import asyncio

import pytest

from appliance.domain.clock import ManualClock
from appliance.domain.verdict import Outcome
from icap.client import IcapService, ServiceEvent, Tuning
from icap.client.standing import State
from icap.protocol import Limits
from tests.icap.client.messages import RESPONSE, download, told, upload
from tests.icap.client.peer import NO_CONTENT, OPTIONS, Talk, scripted
from tests.icap.client.test_service import INFECTED, PAGE, answering, modified
from tests.ports import free_port

LONG = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
UNASKED_PARTIAL = modified(LONG % 5, b"12345").replace(b"\r\n0\r\n", b"\r\n0; use-original-body=0\r\n")


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (b"ICAP/1.0 500 Server error\r\n\r\n", Outcome.ERROR, "icap_error"),
        (b"ICAP/1.0 404 Not Found\r\nEncapsulated: null-body=0\r\n\r\n", Outcome.ERROR, "icap_error"),
        (b"ICAP/1.0 405 Method not allowed\r\n\r\n", Outcome.ERROR, "icap_error"),
        (b"ICAP/1.0 408 Timeout\r\n\r\n", Outcome.ERROR, "icap_error"),
        (b"ICAP/1.0 503 Overload\r\n\r\n", Outcome.ERROR, "icap_overload"),
        (b"ICAP/1.0 302 Found\r\n\r\n", Outcome.ERROR, "icap_protocol_error"),
        (b"ICAP/1.0 201 Created\r\n\r\n", Outcome.ERROR, "icap_protocol_error"),
        (b"ICAP/1.0 200 OK\r\n\r\n", Outcome.ERROR, "icap_protocol_error"),
        (b"ICAP/1.0 100 Continue\r\n\r\n", Outcome.ERROR, "icap_protocol_error"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Outcome.ERROR, "icap_protocol_error"),
        (b"garbage\r\n\r\n", Outcome.ERROR, "icap_protocol_error"),
        (b"ICAP/1.0 200 OK\r\nEncapsulated: null-body=0\r\n\r\n", Outcome.ERROR, "icap_protocol_error"),
        (b"ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n1\r\nx\r\n0\r\n\r\n", Outcome.ERROR, "icap_protocol_error"),
        (modified(LONG % 4, b"12345"), Outcome.ERROR, "icap_protocol_error"),
        (modified(b"nonsense\r\n\r\n", b"x"), Outcome.ERROR, "icap_protocol_error"),
        (modified(b"GET / HTTP/1.1\r\n\r\n", b"x"), Outcome.ERROR, "icap_protocol_error"),
        (UNASKED_PARTIAL, Outcome.ERROR, "icap_protocol_error"),
        # c-icap cuts off what it found infected while it was delivering it: never clean, and never an error to be passed
        (modified(LONG % 6, b"12345"), Outcome.BLOCKED, "icap_protocol_error"),
        (modified(LONG % 6, b"12345", INFECTED), Outcome.BLOCKED, "malware_found"),
        (b"ICAP/1.0 204 No\r\n%b\r\n" % INFECTED, Outcome.BLOCKED, "malware_found"),
        (modified(RESPONSE, b"hello", INFECTED), Outcome.BLOCKED, "malware_found"),
        (modified(PAGE, b"x", b"X-Virus-ID: Eicar\r\n"), Outcome.BLOCKED, "malware_found"),
        (modified(PAGE, b"x", b"X-Violations-Found: 0\r\n"), Outcome.MODIFIED, "ok"),
        (modified(PAGE, b"x", b"X-Infection-Found: Type=0; Resolution=1; Threat=a;\r\n"), Outcome.MODIFIED, "ok"),
    ],
)  # fmt: skip
async def test_icp_05_answers(answer: bytes, outcome: Outcome, reason: str) -> None:
    """ICAP-C10, ICAP-C24, ICAP-C31, ICAP-C32, ICAP-C39, ICAP-C40"""
    async with scripted(answering(answer)) as peer:
        service = IcapService(peer.uri)
        adapted = await service.adapt(download())
        await service.close()
    assert told(adapted) == (outcome, reason)
    if outcome is Outcome.ERROR:
        assert (adapted.kind, adapted.head, adapted.body) == ("unmodified", None, None)
        assert service.stats.errors == {reason: 1}


async def test_icp_05_an_infected_original_is_not_handed_back() -> None:
    async with scripted(answering(modified(RESPONSE, b"hello", INFECTED))) as peer:
        service = IcapService(peer.uri)
        adapted = await service.adapt(download())
        await service.close()
    assert (adapted.kind, adapted.head, adapted.body) == ("unmodified", None, None)
    assert adapted.verdict.signature == "Eicar"


async def test_icp_05_nobody_listens() -> None:
    service = IcapService(f"icap://127.0.0.1:{free_port()}/s")
    assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_unreachable")
    await service.close()


@pytest.mark.parametrize("said", [b"", NO_CONTENT[:-3], modified(PAGE, b"x")[:-5]])
async def test_icp_05_closed_inside_an_answer(said: bytes) -> None:
    """ICAP-C36"""

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.say(said)
        talk.writer.close()

    async with scripted(script) as peer:
        service = IcapService(peer.uri)
        assert told(await service.adapt(upload(None))) == (Outcome.ERROR, "icap_error")
        await service.close()
    # half an answer is no reason to try again, a closed pooled connection is one, once
    assert service.stats.retries == (0 if said else 1)
    assert service.stats.busy == service.stats.idle == 0


async def test_icp_05_silence_ends_with_the_transaction_time() -> None:
    """ICAP-C37"""

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.reader.read()

    async with scripted(script) as peer:
        service = IcapService(peer.uri, timeout=0.2)
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_timeout")
        await service.close()


async def test_icp_05_a_server_that_drips_does_not_hold_a_transaction_for_ever() -> None:
    """ICAP-C37"""

    async def script(talk: Talk) -> None:
        await talk.head()
        for byte in NO_CONTENT * 100:
            await talk.say(bytes([byte]))
            await asyncio.sleep(0.05)

    async with scripted(script) as peer:
        service = IcapService(peer.uri, timeout=0.3)
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_timeout")
        await service.close()


async def test_icp_05_a_server_that_stops_reading_is_a_stall() -> None:
    """ICAP-C37"""

    async def script(talk: Talk) -> None:
        talk.writer.transport.pause_reading()
        await asyncio.sleep(60)

    async with scripted(script) as peer:
        service = IcapService(peer.uri, timeout=60, tuning=Tuning(stall_timeout=0.2))
        adapted = await service.adapt(download(bytes(32 * 1024 * 1024)))
        await service.close()
    assert told(adapted) == (Outcome.ERROR, "icap_timeout")
    assert "no byte moved" in adapted.verdict.detail


async def test_icp_05_a_server_that_stops_inside_its_answer_is_a_stall() -> None:
    """ICAP-C37"""

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.say(NO_CONTENT[:10])
        await asyncio.sleep(60)

    async with scripted(script) as peer:
        service = IcapService(peer.uri, timeout=60, tuning=Tuning(stall_timeout=0.2))
        assert "no byte moved" in (await service.adapt(download())).verdict.detail
        await service.close()


@pytest.mark.parametrize("size", [5, 8 * 1024 * 1024])
async def test_icp_05_silence_after_our_last_byte_has_a_time_of_its_own(size: int) -> None:
    """ICAP-C37: whatever the other times are, and also when sending has taken a while."""

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await talk.reader.read()

    async with scripted(script) as peer:
        service = IcapService(peer.uri, timeout=3600, tuning=Tuning(first_byte_timeout=0.2, stall_timeout=3600))
        adapted = await service.adapt(download(bytes(size)))
        await service.close()
    assert told(adapted) == (Outcome.ERROR, "icap_timeout")
    assert adapted.verdict.detail == "no answer within 0.2 s"


async def test_a_scanner_may_think_longer_than_the_stall_time() -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await asyncio.sleep(0.4)
        await talk.say(NO_CONTENT)

    async with scripted(script) as peer:
        service = IcapService(peer.uri, tuning=Tuning(stall_timeout=0.1))
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()


@pytest.mark.parametrize(
    "options",
    [
        b"ICAP/1.0 404 Not Found\r\n\r\n",
        b"ICAP/1.0 500 Error\r\n\r\n",
        b"garbage\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nISTag: x\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nMethods: REQMOD\r\nISTag: x\r\n\r\n",
    ],
)
async def test_icp_09_options_that_do_not_carry(options: bytes) -> None:
    """ICAP-C12"""
    async with scripted(answering(NO_CONTENT), options) as peer:
        service = IcapService(peer.uri)
        adapted = await service.adapt(download())
        await service.close()
    assert adapted.verdict.outcome is Outcome.ERROR
    assert b"RESPMOD " not in peer.received


async def test_options_without_an_answer_have_their_own_time() -> None:
    """ICAP-C37"""

    async def script(talk: Talk) -> None:
        await talk.reader.read()

    async with scripted(script, None) as peer:
        service = IcapService(peer.uri, tuning=Tuning(options_timeout=0.1))
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_timeout")
        await service.close()


@pytest.mark.parametrize(
    ("limits", "answer"),
    [
        (Limits(body_bytes=3), modified(PAGE, b"1234")),
        (Limits(section_bytes=len(PAGE) - 1), modified(PAGE, b"1")),
        (Limits(header_count=6), b"ICAP/1.0 204 No\r\n%b\r\n" % (b"A: b\r\n" * 7)),
        (Limits(header_bytes=500), b"ICAP/1.0 204 No\r\n" + b"A: b\r\n" * 200),
    ],
)
async def test_icp_05_answers_above_a_limit(limits: Limits, answer: bytes) -> None:
    """ICAP-C11"""
    async with scripted(answering(answer)) as peer:
        service = IcapService(peer.uri, tuning=Tuning(limits=limits))
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_protocol_error")
        await service.close()


async def test_suspension_and_revival() -> None:
    """ICAP-C38"""
    answers = [b"ICAP/1.0 500 Error\r\n\r\n"] * 3 + [NO_CONTENT]
    clock, events = ManualClock(), list[ServiceEvent]()

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await talk.say(answers.pop(0))

    async with scripted(script) as peer:
        tuning = Tuning(failure_limit=3, failure_window=30, revival_delay=10)
        service = IcapService(peer.uri, tuning=tuning, clock=clock, on_event=events.append)
        for _ in range(3):
            assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_error")
        assert service.standing.state is State.SUSPENDED
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_unreachable")
        assert peer.options_asked == 1
        clock.advance(10)
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        assert peer.options_asked == 2
        await service.close()
    assert [event.kind for event in events if event.kind in ("suspended", "up")] == ["suspended", "up"]


async def test_cancellation_propagates_and_frees_the_connection() -> None:
    asked = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        asked.set()
        await talk.reader.read()

    async with scripted(script) as peer:
        service = IcapService(peer.uri, max_connections=1)
        task = asyncio.ensure_future(service.adapt(download()))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (service.stats.busy, service.stats.idle) == (0, 0)
        await service.close()


async def test_a_caller_who_gives_up_does_not_end_the_options_of_others() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def script(talk: Talk) -> None:
        head = await talk.head()
        if b"RESPMOD" in talk.received:
            await talk.body()
            await talk.say(NO_CONTENT)
            return
        assert head
        asked.set()
        await go.wait()
        await talk.say(OPTIONS % b"")

    async with scripted(script, None) as peer:
        service = IcapService(peer.uri)
        first, second = (asyncio.ensure_future(service.adapt(download())) for _ in range(2))
        await asked.wait()
        first.cancel()
        go.set()
        assert told(await second) == (Outcome.CLEAN, "ok")
        await service.close()
    assert peer.options_asked == 1
