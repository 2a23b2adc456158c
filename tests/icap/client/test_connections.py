"""Connections: reuse, retries, limits; OPTIONS fetched once and renewed."""

import asyncio

import pytest

from appliance.domain.clock import ManualClock
from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from icap.client import IcapService, Tuning
from icap.client.connection import Connection
from icap.protocol import Limits
from tests.icap.client.messages import download, told
from tests.icap.client.peer import NO_CONTENT, OPTIONS, Talk, scripted
from tests.icap.client.test_service import answering


async def test_icp_11_a_hundred_messages_on_one_connection() -> None:
    """ICAP-C34"""
    async with scripted(answering(NO_CONTENT)) as peer:
        service = IcapService(peer.uri)
        for _ in range(100):
            assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()
    assert len(peer.talks) == 1
    assert (service.stats.connects, service.stats.reuses) == (1, 100)


async def test_icp_11_a_stale_connection_is_replaced_once() -> None:
    """ICAP-C36"""

    async def script(talk: Talk) -> None:
        await talk.head()
        if talk.number == 0:
            talk.writer.transport.abort()
            return
        await talk.body()
        await talk.say(NO_CONTENT)

    async with scripted(script) as peer:
        service = IcapService(peer.uri)
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()
    assert (service.stats.retries, len(peer.talks), service.stats.errors) == (1, 2, {})


async def test_icp_11_the_retry_is_not_repeated() -> None:
    """ICAP-C36"""

    async def script(talk: Talk) -> None:
        await talk.head()
        talk.writer.transport.abort()

    async with scripted(script) as peer:
        service = IcapService(peer.uri)
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_error")
        await service.close()
    assert (service.stats.retries, len(peer.talks)) == (1, 2)


async def test_icp_11_a_408_on_a_pooled_connection_is_retried() -> None:
    """ICAP-C36, ICAP-C40"""

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await talk.say(b"ICAP/1.0 408 Timeout\r\n\r\n" if talk.number == 0 else NO_CONTENT)

    async with scripted(script) as peer:
        service = IcapService(peer.uri)
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()
    assert service.stats.retries == 1


async def test_icp_11_connections_that_close_or_speak_while_idle_are_dropped() -> None:
    """ICAP-C35"""

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await talk.say(NO_CONTENT)
        asyncio.get_running_loop().call_later(0.01, talk.writer.write, b"ICAP/1.0 408 Timeout\r\n\r\n")

    async with scripted(script) as peer:
        service = IcapService(peer.uri)
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        while service.stats.idle:
            await asyncio.sleep(0.01)
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()
    assert (len(peer.talks), service.stats.retries) == (2, 0)


async def test_icp_11_connection_close_is_honoured() -> None:
    """ICAP-C34"""
    answer = NO_CONTENT[:-2] + b"Connection: close\r\n\r\n"
    async with scripted(answering(answer)) as peer:
        service = IcapService(peer.uri)
        for _ in range(3):
            assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()
    assert (len(peer.talks), service.stats.retries) == (3, 0)


async def test_idle_connections_grow_old() -> None:
    """ICAP-C35"""
    async with scripted(answering(NO_CONTENT)) as peer:
        service = IcapService(peer.uri, tuning=Tuning(idle_timeout=0.05))
        await service.adapt(download())
        while service.stats.idle:
            await asyncio.sleep(0.01)
        await service.adapt(download())
        await service.close()
    assert (len(peer.talks), service.stats.retries) == (2, 0)


async def test_icp_09_max_connections_counts_busy_and_idle() -> None:
    """ICAP-C17"""

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await asyncio.sleep(0.01)
        await talk.say(NO_CONTENT)

    async with scripted(script, OPTIONS % b"Max-Connections: 2\r\n") as peer:
        service = IcapService(peer.uri, max_connections=10)
        adapted = await asyncio.gather(*(service.adapt(download()) for _ in range(20)))
        await service.close()
    assert {told(one) for one in adapted} == {(Outcome.CLEAN, "ok")}
    assert peer.most_open == 2
    assert (service.stats.busy, service.stats.waiting) == (0, 0)


async def test_overload_is_an_error_of_its_own() -> None:
    """ICAP-C17"""
    go = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await go.wait()
        await talk.say(NO_CONTENT)

    async with scripted(script) as peer:
        service = IcapService(peer.uri, max_connections=1, tuning=Tuning(max_waiting=1))
        tasks = [asyncio.ensure_future(service.adapt(download())) for _ in range(3)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [told(task.result()) for task in done] == [(Outcome.ERROR, "icap_overload")]
        go.set()
        adapted = await asyncio.gather(*tasks)
        assert sorted(told(one)[1] for one in adapted) == ["icap_overload", "ok", "ok"]
        await service.close()


async def test_waiting_for_a_connection_counts_against_the_time() -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.reader.read()

    async with scripted(script) as peer:
        service = IcapService(peer.uri, max_connections=1, timeout=0.3)
        first = asyncio.ensure_future(service.adapt(download()))
        while not service.stats.busy or b"RESPMOD" not in peer.received:
            await asyncio.sleep(0.01)
        second = asyncio.ensure_future(service.adapt(download()))
        assert told(await first) == (Outcome.ERROR, "icap_timeout")
        assert (await second).verdict.outcome is Outcome.ERROR
        assert service.stats.busy == 0
        await service.close()


async def test_cancelled_waiters_lose_no_slot() -> None:
    go = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await go.wait()
        await talk.say(NO_CONTENT)

    async with scripted(script) as peer:
        service = IcapService(peer.uri, max_connections=1)
        tasks = [asyncio.ensure_future(service.adapt(download())) for _ in range(4)]
        while service.stats.waiting < 3:
            await asyncio.sleep(0.01)
        tasks[1].cancel()
        go.set()
        await tasks[0]
        tasks[2].cancel()  # it may hold its slot already: the slot has to go on to the last
        assert told(await tasks[3]) == (Outcome.CLEAN, "ok")
        assert (service.stats.busy, service.stats.waiting) == (0, 0)
        await service.close()
    assert peer.most_open == 1


async def test_icp_09_one_options_for_a_hundred_messages() -> None:
    """ICAP-C12, ICAP-C14"""
    async with scripted(answering(NO_CONTENT)) as peer:
        service = IcapService(peer.uri, max_connections=8)
        await asyncio.gather(*(service.adapt(download()) for _ in range(100)))
        await service.close()
    assert peer.options_asked == 1


async def test_icp_09_options_are_renewed_before_they_expire() -> None:
    """ICAP-C13"""
    clock = ManualClock()
    async with scripted(answering(NO_CONTENT), OPTIONS % b"Options-TTL: 100\r\n") as peer:
        service = IcapService(peer.uri, clock=clock)
        for advance, asked in ((0, 1), (79, 1), (1, 2), (79, 2), (30, 3)):
            clock.advance(advance)
            await service.adapt(download())
            while service.stats.options_fetched < asked:
                await asyncio.sleep(0.01)
            assert peer.options_asked == asked
        await service.close()


async def test_icp_09_old_options_serve_while_new_ones_come() -> None:
    """ICAP-C14"""
    clock, go = ManualClock(), asyncio.Event()

    async def script(talk: Talk) -> None:
        is_options = talk.received.endswith(b"OPTIONS")
        await talk.head()
        if is_options:
            if len(peer.talks) > 1:
                await go.wait()
            await talk.say(OPTIONS % b"Options-TTL: 100\r\n")
            return
        await talk.body()
        await talk.say(NO_CONTENT)

    async with scripted(script, None) as peer:
        service = IcapService(peer.uri, clock=clock)
        await service.adapt(download())
        clock.advance(90)
        for _ in range(5):
            assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        go.set()
        await service.close()
    assert peer.options_asked == 2


async def test_icp_09_a_new_istag_renews_the_options() -> None:
    """ICAP-C21"""
    clock, tags = ManualClock(), [b"t1", b"t2", b"t2", b"t2"]

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await talk.say(NO_CONTENT.replace(b"t1", tags.pop(0)))

    async with scripted(script) as peer:
        service = IcapService(peer.uri, clock=clock)
        for _ in range(4):
            clock.advance(10)
            last = await service.adapt(download())
        while service.stats.options_fetched < 2:
            await asyncio.sleep(0.01)
        await service.close()
    assert last.verdict.istag == "t2"
    assert peer.options_asked == 2


async def test_nothing_is_sent_after_close() -> None:
    async with scripted(answering(NO_CONTENT)) as peer:
        service = IcapService(peer.uri)
        await service.adapt(download())
        await service.close()
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_unreachable")
    assert len(peer.talks) == 1


async def test_icp_10_each_transaction_of_a_connection_has_its_own_deadline() -> None:
    connection, loop = Connection(Limits(), lambda _: None), asyncio.get_running_loop()
    connection.begin(loop.time() + 0.01, stall=60)
    connection.end()
    await asyncio.sleep(0.02)  # nothing is under way, so nothing is late
    connection.begin(loop.time() + 60, stall=60)
    connection.end()
    connection.begin(loop.time() + 0.01, stall=60)
    with pytest.raises(ScanError) as raised:
        await connection.event()
    assert raised.value.reason is Reason.ICAP_TIMEOUT


async def test_icp_10_a_timer_of_the_transaction_before_does_not_end_the_next() -> None:
    connection, loop = Connection(Limits(), lambda _: None), asyncio.get_running_loop()
    connection.begin(loop.time() + 0.01, stall=60)
    connection.end()
    connection.begin(loop.time() + 60, stall=60)
    await asyncio.sleep(0.03)
    connection.give_up(ScanError(Reason.CLIENT_CLOSED, "nothing else has ended it"))
    with pytest.raises(ScanError, match="nothing else"):
        await connection.event()
