"""The spool that is filled while it is read (C7, LIM-04)."""

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.client import Body, Room
from icap.client.body import PIECE, same_content


async def gathered(body: Body, offset: int = 0) -> bytes:
    return b"".join([piece async for piece in body.pieces(offset)])


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=700), max_size=12),
    offsets=st.lists(st.integers(0, 3000), min_size=1, max_size=3),
    memory=st.integers(0, 3000),
    per_body=st.integers(0, 3000),
)
def test_every_reader_gets_every_byte_from_its_offset_whenever_it_comes(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], offsets: list[int], memory: int, per_body: int
) -> None:
    """LIM-04: in memory, in a file, and across the change; the budgets are given back in full."""
    room = Room(memory=memory, body_memory=per_body, directory=tmp_path_factory.getbasetemp())
    whole = b"".join(pieces)

    async def run() -> None:
        body = Body(room)
        early = [asyncio.create_task(gathered(body, offset)) for offset in offsets]
        for piece in pieces:
            body.feed(piece)
            await asyncio.sleep(0)
        body.end()
        late = [await gathered(body, offset) for offset in offsets]
        assert [await task for task in early] == late == [whole[offset:] for offset in offsets]
        assert (body.size, body.sha256) == (len(whole), sha256(whole).hexdigest())
        assert room.memory_used + room.disk_used == len(whole)
        assert body.spilled is (len(whole) > min(memory, per_body))
        body.close()

    asyncio.run(run())
    assert (room.memory_used, room.disk_used) == (0, 0)


async def test_a_body_in_a_file_leaves_no_name(tmp_path: Path) -> None:
    body = Body(Room(memory=0, directory=tmp_path))
    body.feed(b"x" * 1000)
    assert body.spilled
    assert list(tmp_path.iterdir()) == []
    body.close()


async def test_the_disk_s_budget_ends_a_body_and_not_another(tmp_path: Path) -> None:
    """LIM-04: at the limit, and one byte above it."""
    room = Room(memory=0, disk=100, directory=tmp_path)
    first, second = Body(room), Body(room)
    first.feed(b"a" * 60)
    second.feed(b"b" * 40)
    with pytest.raises(ScanError) as raised:
        first.feed(b"c")
    assert raised.value.reason is Reason.RESOURCE_EXHAUSTED
    with pytest.raises(ScanError):
        await first.complete()
    first.close()
    second.feed(b"d" * 60)
    second.end()
    assert await second.complete() == 100
    second.close()
    assert (room.disk_used, room.refused) == (0, 1)


async def test_without_a_directory_nothing_goes_to_disk() -> None:
    body = Body(Room(memory=10, body_memory=10))
    body.feed(b"x" * 10)
    with pytest.raises(ScanError):
        body.feed(b"x")
    body.close()


async def test_an_abort_reaches_readers_after_what_is_there() -> None:
    body = Body()
    body.feed(b"abc")
    error = ScanError(Reason.UPSTREAM_CLOSED, "gone")
    body.abort(error)
    body.feed(b"late")
    body.end()
    with body.reader() as reader:
        assert await reader.next() == b"abc"
        with pytest.raises(ScanError) as raised:
            await reader.next()
    assert raised.value is error
    assert not body.ended


async def test_who_waits_is_told_when_the_body_is_given_up() -> None:
    body = Body()
    waiting = asyncio.create_task(gathered(body))
    await asyncio.sleep(0)
    body.close()
    with pytest.raises(ScanError):
        await waiting
    with pytest.raises(ValueError, match="closed"):
        body.read(0, 1)


async def test_the_feeder_is_held_back_by_the_slowest_reader_and_by_none_that_left() -> None:
    body = Body(Room(), window=10)
    body.feed(b"x" * 10)
    assert not body.pressed
    body.feed(b"x")
    assert body.pressed, "the first reader will begin at the start"
    slow, fast = body.reader(), body.reader()
    assert await fast.next() == b"x" * 11
    assert body.pressed
    waiting = asyncio.create_task(body.relieved())
    await asyncio.sleep(0)
    assert not waiting.done()
    slow.close()
    await waiting
    fast.close()
    body.feed(b"x" * 100)
    assert not body.pressed, "nobody reads any more"
    body.close()


async def test_who_waits_for_the_whole_is_not_held_up_by_back_pressure() -> None:
    body = Body(Room(), window=10)
    body.feed(b"x" * 100)
    held = asyncio.create_task(body.relieved())
    await asyncio.sleep(0)
    assert not held.done()
    whole = asyncio.create_task(body.complete())
    await held
    body.end()
    assert await whole == 100
    body.close()


async def test_a_reader_gets_bounded_pieces() -> None:
    body = Body(Room(memory=4 * PIECE, body_memory=4 * PIECE))
    body.feed(b"x" * (2 * PIECE + 1))
    body.end()
    assert [len(piece) async for piece in body.pieces()] == [PIECE, PIECE, 1]
    body.close()


@pytest.mark.parametrize(("one", "other", "same"), [(b"", None, True), (b"ab", b"ab", True), (b"ab", b"ac", False)])
async def test_content_is_compared_whatever_it_lies_in(one: bytes, other: bytes | None, same: bool) -> None:
    def spooled(data: bytes | None) -> Body:
        body = Body()
        body.feed(data or b"")
        body.end()
        return body

    assert same_content(one, other) is same
    assert same_content(spooled(one), other) is same
    assert same_content(one, spooled(other)) is same
    assert same_content(spooled(one), spooled(other)) is same
