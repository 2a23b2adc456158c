"""Keys made ahead: how many, by how many at a time, and for whom."""

import asyncio
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certs.leaf import LeafKey
from certs.spare_keys import SpareKeys


class Maker:
    """Waits for ``go`` before each key; ``most`` is how many were made at a time."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.made: list[LeafKey] = []
        self.most = self._now = 0
        self.error: Exception | None = None

    def __call__(self) -> LeafKey:
        self._now += 1
        self.most = max(self.most, self._now)
        self.go.acquire()
        self._now -= 1
        if self.error is not None:
            raise self.error
        self.made.append(ec.generate_private_key(ec.SECP256R1()))
        return self.made[-1]


async def until(keys: SpareKeys, count: int) -> None:
    while len(keys) < count:
        await asyncio.sleep(0.001)


async def test_the_stock_is_filled_one_at_a_time_and_no_further() -> None:
    maker = Maker()
    keys = SpareKeys(maker, None, 3)
    keys.prepare()
    keys.prepare()
    maker.go.release(10)
    await until(keys, 3)
    keys.prepare()
    await asyncio.sleep(0.01)
    assert (len(keys), len(maker.made), maker.most) == (3, 3, 1)


async def test_a_key_in_stock_is_there_at_once_belongs_to_one_and_is_made_up_for() -> None:
    maker = Maker()
    keys = SpareKeys(maker, None, 2)
    keys.prepare()
    maker.go.release(2)
    await until(keys, 2)
    first, second = await keys.take(), await keys.take()  # nothing can be made now: ``go`` is used up
    assert [first, second] == maker.made
    maker.go.release(2)
    await until(keys, 2)
    assert len(maker.made) == 4


async def test_without_a_stock_each_is_made_when_it_is_asked_for() -> None:
    maker = Maker()
    keys = SpareKeys(maker, None, 0)
    keys.prepare()
    maker.go.release(5)
    await asyncio.sleep(0.01)
    assert maker.made == []
    assert await keys.take() is maker.made[0]
    await asyncio.sleep(0.01)
    assert len(maker.made) == 1


async def test_two_that_wait_get_two_keys_also_when_a_third_goes_away() -> None:
    maker = Maker()
    keys = SpareKeys(maker, None, 1)
    waiting = [asyncio.create_task(keys.take()) for _ in range(3)]
    await asyncio.sleep(0.01)
    waiting[0].cancel()
    maker.go.release(3)
    got = await asyncio.gather(*waiting[1:])
    assert len({id(key) for key in got}) == 2
    assert maker.most == 1


async def test_a_failure_reaches_who_waits_and_the_next_try_is_made() -> None:
    maker = Maker()
    keys = SpareKeys(maker, None, 1)
    maker.error = MemoryError("no")
    maker.go.release(1)
    with pytest.raises(MemoryError):
        await keys.take()
    maker.error = None
    maker.go.release(2)
    assert await keys.take() is maker.made[0]
    await until(keys, 1)
