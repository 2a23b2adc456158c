"""Slots go to whoever waits longest, task or callback, and none is lost."""

import asyncio

from icap.server.scanners.slots import Slots


async def test_slots_go_round_in_the_order_of_asking() -> None:
    slots, order = Slots(1), list[str]()
    assert slots.take_now()
    assert slots.full
    assert not slots.take_now()

    async def take() -> None:
        await slots.take()
        order.append("task")

    slots.wait(lambda: order.append("first"))
    task = asyncio.create_task(take())
    await asyncio.sleep(0)
    slots.wait(lambda: order.append("last"))
    for _ in range(3):
        slots.release()
        await asyncio.sleep(0)
    await task
    assert order == ["first", "task", "last"]
    slots.release()
    assert not slots.full


async def test_who_does_not_wait_any_more_keeps_no_slot() -> None:
    """Also when the slot came in the same turn of the loop as the end of the waiting."""
    slots = Slots(1)
    await slots.take()
    for release_first in (False, True):
        task = asyncio.create_task(slots.take())
        await asyncio.sleep(0)
        if release_first:
            slots.release()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert slots.take_now()
    slots.wait(ready := lambda: None)
    assert slots.withdraw(ready)
    assert not slots.withdraw(ready)
    slots.release()
    assert not slots.full
