"""The pool by itself: a slot is never lost, never doubled."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from appliance.domain.clock import ManualClock
from appliance.domain.verdict import Outcome
from icap.client import IcapService, Tuning
from icap.client.connection import Connection
from icap.client.pool import Pool
from icap.client.standing import State
from icap.client.stats import ServiceStats
from icap.protocol import Limits
from tests.icap.client.messages import download, told
from tests.icap.client.peer import NO_CONTENT, Talk, scripted
from tests.icap.client.test_service import answering


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool of one connection to a server that says nothing."""
    async with scripted(answering(NO_CONTENT)) as peer:

        async def connect(on_idle_loss: Callable[[Connection], None]) -> Connection:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: Connection(Limits(), on_idle_loss), "127.0.0.1", peer.port)
            return connection

        pool = Pool(connect, 1, 60, 10, ServiceStats())
        yield pool
        pool.close()


async def test_a_slot_given_to_a_cancelled_waiter_goes_on(pool: Pool) -> None:
    held = await pool.acquire()
    first, second = (asyncio.ensure_future(pool.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    pool.release(held)  # not reusable, as it carried nothing: the first waiter gets the right to open another
    first.cancel()
    connection = await asyncio.wait_for(second, 10)
    pool.release(connection)
    assert first.cancelled()
    assert pool.busy == 0


async def test_waiters_are_served_in_order(pool: Pool) -> None:
    held = await pool.acquire()
    order: list[int] = []

    async def wait(number: int) -> None:
        connection = await pool.acquire()
        order.append(number)
        pool.release(connection)

    tasks = [asyncio.ensure_future(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    pool.release(held)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_more_room_wakes_who_waits(pool: Pool) -> None:
    held = await pool.acquire()
    waiter = asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0)
    pool.resize(2)
    other = await asyncio.wait_for(waiter, 10)
    assert pool.busy == 2
    pool.resize(1)
    pool.release(held)
    pool.release(other)
    assert pool.busy == 0


async def test_one_failed_fetch_of_options_is_one_failure() -> None:
    async with scripted(answering(NO_CONTENT), b"ICAP/1.0 500 Error\r\n\r\n") as peer:
        service = IcapService(peer.uri, tuning=Tuning(failure_limit=2), clock=ManualClock())
        adapted = await asyncio.gather(*(service.adapt(download()) for _ in range(5)))
        assert {told(one) for one in adapted} == {(Outcome.ERROR, "icap_error")}
        assert service.standing.state is State.UP
        await service.adapt(download())
        assert service.standing.state is State.SUSPENDED
        await service.close()


async def test_icp_09_after_503_the_limit_shrinks_until_options_are_read_again() -> None:
    """ICAP-C40"""
    answers, clock = [b"ICAP/1.0 503 Overload\r\n\r\n", NO_CONTENT, NO_CONTENT], ManualClock()

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await talk.say(answers.pop(0))

    async with scripted(script) as peer:
        service = IcapService(peer.uri, max_connections=8, clock=clock)
        assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_overload")
        assert service.connection_limit == 1
        clock.advance(5)
        await service.adapt(download())
        while peer.options_asked < 2 or service.stats.options_fetched < 2:
            await asyncio.sleep(0.01)
        assert service.connection_limit == 8
        await service.close()
