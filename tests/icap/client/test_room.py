"""LIM-04: what all held bodies may take, and that nobody takes all of it from the others."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import ScanError
from icap.client import Body
from icap.client.room import Room


def disk(room: Room, size: int) -> bool:
    try:
        room.take_disk(size)
    except ScanError:
        return False
    return True


@pytest.mark.security
def test_one_tenant_leaves_room_for_the_next(tmp_path: Path) -> None:
    """security: three quarters at the most, in memory and on disk, and the next gets its part of what is left."""
    whole = Room(memory=400, disk=400, directory=tmp_path)
    greedy, other = whole.part(), whole.part()
    assert (greedy.reserve(300), greedy.reserve(1)) == (True, False)
    assert (disk(greedy, 300), disk(greedy, 1)) == (True, False)
    assert (other.reserve(75), other.reserve(1)) == (True, False)
    assert (disk(other, 75), disk(other, 1)) == (True, False)
    assert (whole.memory_used, whole.disk_used, whole.refused) == (375, 375, 2)
    greedy.give_back(300, 300)
    assert (other.reserve(168), disk(other, 168)) == (True, True)


def test_who_is_alone_has_all_of_it(tmp_path: Path) -> None:
    room = Room(memory=400, disk=400, directory=tmp_path)
    assert (room.reserve(400), disk(room, 400)) == (True, True)
    assert (room.reserve(1), disk(room, 1)) == (False, False)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3000), st.booleans()), max_size=40))
def test_parts_add_up_stay_within_and_are_given_back(steps: list[tuple[int, int, bool]]) -> None:
    whole = Room(memory=2000, disk=4000, body_memory=500, directory=Path("/tmp"))
    parts = [whole.part() for _ in range(3)]
    bodies: list[Body] = []
    for which, size, close in steps:
        body = Body(parts[which])
        bodies.append(body)
        try:
            body.feed(bytes(size))
        except ScanError:
            assert body.size == 0
        if close:
            bodies.pop(0).close()
        assert whole.memory_used == sum(part.memory_used for part in parts) <= whole.memory
        assert whole.disk_used == sum(part.disk_used for part in parts) <= whole.disk
        assert all(part.memory_used <= 1500 and part.disk_used <= 3000 for part in parts)
    assert whole.spilled == sum(body.spilled for body in bodies) or any(close for _, _, close in steps)
    for body in bodies:
        body.close()
    assert (whole.memory_used, whole.disk_used) == (0, 0)
    assert all((part.memory_used, part.disk_used) == (0, 0) for part in parts)
