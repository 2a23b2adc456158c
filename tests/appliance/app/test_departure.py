"""How a process is told to leave: three signals, and what a second one changes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from appliance.app.departure import Departure


@pytest.fixture
async def leave() -> AsyncIterator[Departure]:
    yield Departure(10.0, 600.0)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().remove_signal_handler(each)


async def told(leave: Departure, how: signal.Signals) -> tuple[bool, bool, int]:
    os.kill(os.getpid(), how)
    await asyncio.sleep(0.05)
    assert leave.begun.is_set()
    return leave.replaced, leave.quick, round(leave.left)


async def test_c20_replaced_then_hurried_then_at_once(leave: Departure) -> None:
    assert not leave.begun.is_set()
    assert await told(leave, signal.SIGHUP) == (True, False, 600)
    assert leave.handed_over.is_set()
    assert await told(leave, signal.SIGHUP) == (True, False, 600)
    assert await told(leave, signal.SIGTERM) == (False, False, 10)
    assert await told(leave, signal.SIGINT) == (False, True, 0)


async def test_a_hangup_does_not_lengthen_the_end(leave: Departure) -> None:
    assert await told(leave, signal.SIGTERM) == (False, False, 10)
    assert await told(leave, signal.SIGHUP) == (False, False, 10)
    assert not leave.handed_over.is_set(), "its name is still its own"
