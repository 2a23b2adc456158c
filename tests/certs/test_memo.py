"""Answers that cost a fetch: once, bounded, with an end."""

import asyncio

import pytest

from appliance.domain.clock import ManualClock
from certs.memo import Kept, Memo


class Maker:
    def __init__(self, seconds: float = 10.0) -> None:
        self.calls: list[str] = []
        self.seconds = seconds
        self.gate = asyncio.Event()
        self.gate.set()

    async def make(self, key: str) -> Kept[str]:
        self.calls.append(key)
        await self.gate.wait()
        if key == "broken":
            raise OSError("nothing there")
        return Kept(key.upper(), self.seconds)


async def test_a_value_is_made_once_until_its_end() -> None:
    clock, maker = ManualClock(0.0), Maker()
    memo: Memo[str, str] = Memo(10, clock)
    for seconds, calls in ((0, 1), (9.9, 1), (0.1, 2)):
        clock.advance(seconds)
        assert await memo.get("a", lambda: maker.make("a")) == "A"
        assert len(maker.calls) == calls
    assert memo.counters == {"looked": 2, "hit": 1}


async def test_who_asks_at_the_same_time_waits_for_the_same_answer() -> None:
    maker = Maker()
    maker.gate.clear()
    memo: Memo[str, str] = Memo(10, ManualClock(0.0))
    asked = [asyncio.create_task(memo.get("a", lambda: maker.make("a"))) for _ in range(5)]
    await asyncio.sleep(0)
    asked[0].cancel()  # who goes away does not take the answer along
    await asyncio.sleep(0)
    maker.gate.set()
    assert await asyncio.gather(*asked[1:]) == ["A"] * 4
    assert maker.calls == ["a"]


async def test_the_least_recently_used_is_forgotten_first() -> None:
    maker = Maker()
    memo: Memo[str, str] = Memo(2, ManualClock(0.0))
    for key in "abac":
        await memo.get(key, lambda key=key: maker.make(key))
    assert len(memo) == 2
    await memo.get("a", lambda: maker.make("a"))
    assert maker.calls == ["a", "b", "c"]


async def test_an_error_reaches_everybody_and_is_not_remembered() -> None:
    maker = Maker()
    memo: Memo[str, str] = Memo(10, ManualClock(0.0))
    for _ in range(2):
        with pytest.raises(OSError, match="nothing"):
            await memo.get("broken", lambda: maker.make("broken"))
    assert (maker.calls, len(memo)) == (["broken"] * 2, 0)


async def test_what_is_for_no_time_is_given_to_those_who_wait_and_takes_no_room() -> None:
    maker = Maker(seconds=0.0)
    memo: Memo[str, str] = Memo(10, ManualClock(0.0))
    both = await asyncio.gather(*(memo.get("a", lambda: maker.make("a")) for _ in range(2)))
    assert (both, maker.calls, len(memo)) == (["A", "A"], ["a"], 0)


async def test_close_ends_what_is_being_looked_for() -> None:
    maker = Maker()
    maker.gate.clear()
    memo: Memo[str, str] = Memo(10, ManualClock(0.0))
    waiting = asyncio.create_task(memo.get("a", lambda: maker.make("a")))
    await asyncio.sleep(0)
    memo.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
