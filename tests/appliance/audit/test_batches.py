"""What comes next of all segments, once for all feeds; and the cursor that remembers it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.audit.batches import Batches
from appliance.audit.cursor import LONG, Cursor
from appliance.audit.drain import Drain
from appliance.audit.segment import segments
from appliance.audit.sinks.base import State, Written
from appliance.audit.spool import Spool

MEGABYTE = 1024 * 1024


def put(directory: Path, name: str, *lines: bytes) -> None:
    with (directory / f"{name}.seg").open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines))


def test_a_batch_has_the_new_lines_of_all_segments(tmp_path: Path) -> None:
    put(tmp_path, "a", b"1", b"2")
    put(tmp_path, "b", b"3")
    batch = Batches(tmp_path).after({"a.seg": 2, "gone.seg": 9})
    assert batch is not None
    assert (batch.lines, dict(batch.offsets), batch.full) == ([b"2", b"3"], {"a.seg": 4, "b.seg": 2}, False)
    assert Batches(tmp_path).after(batch.offsets) is None


def test_feeds_that_have_come_equally_far_get_the_same_batch(tmp_path: Path) -> None:
    put(tmp_path, "a", b"1")
    batches = Batches(tmp_path)
    first = batches.after({})
    put(tmp_path, "a", b"2")
    assert first is not None
    assert batches.after({}) is first
    second = batches.after(first.offsets)
    assert second is not None
    assert second.lines == [b"2"]
    late = batches.after({})
    assert late is not None
    assert late.lines == [b"1", b"2"], "one that stayed behind gets what there is by now"


@pytest.mark.parametrize("size", range(1, 40))
def test_the_bound_ends_a_batch_and_loses_nothing(tmp_path: Path, size: int) -> None:
    put(tmp_path, "a", b"first", b"second", b"3")
    put(tmp_path, "b", b"fourth")
    batches = Batches(tmp_path, size)
    offsets, found = dict[str, int](), list[bytes]()
    while (batch := batches.after(offsets)) is not None:
        assert len(b"\n".join(batch.lines)) <= size + len(b"second"), "a line is never cut"
        found += batch.lines
        offsets = dict(batch.offsets)
        assert batch.full or batches.after(offsets) is None, "more is there only after a full one"
    assert found == [b"first", b"second", b"3", b"fourth"]


class Recording:
    """Counts the batches, and lets something happen while one is written."""

    name = "recording"

    def __init__(self, spool: Spool) -> None:
        self.batches: list[list[bytes]] = []
        self._spool = spool

    def open(self, state: State) -> State:
        return state

    def write(self, lines: Sequence[bytes]) -> Written:
        self.batches.append(list(lines))
        self._spool.write(b'{"id":"meanwhile"}')
        return Written()

    def close(self) -> None:
        """Nothing is open."""


def test_a_pass_is_one_batch_however_many_workers_write_and_whatever_comes_meanwhile(tmp_path: Path) -> None:
    spools = [Spool(tmp_path, worker, MEGABYTE) for worker in range(3)]
    for spool in spools:
        spool.write(b'{"id":"a"}')
    sink = Recording(spools[0])
    drain = Drain(tmp_path, [sink])
    assert drain.drain_once()
    assert [len(batch) for batch in sink.batches] == [3]
    assert drain.stats()["recording"].lag_bytes == len(b'{"id":"meanwhile"}\n')
    assert drain.drain_once()
    assert [len(batch) for batch in sink.batches] == [3, 1]
    for spool in spools:
        spool.close()
    assert len(segments(tmp_path)) == 3


def saved(path: Path) -> dict[str, int]:
    return Cursor.load(path).offsets


def test_a_cursor_grows_by_lines_and_begins_anew(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path / "cursor.json")
    sizes = []
    for number in range(3000):
        cursor.offsets = {"a.seg": number}
        cursor.save()
        sizes.append(cursor.path.stat().st_size)
        assert cursor.size == sizes[-1]
    assert saved(cursor.path) == {"a.seg": 2999}
    assert max(sizes) < LONG + 100
    assert sizes != sorted(sizes), "it began anew"


@pytest.mark.parametrize("torn", [b"", b"{", b'{"offsets":{"a.seg":9},"sta', b"\x00" * 4096, b'[1]\n{"offsets":7}\n'])
def test_a_line_that_was_not_finished_leaves_the_one_before_it(tmp_path: Path, torn: bytes) -> None:
    cursor = Cursor(tmp_path / "cursor.json")
    for number in range(3):
        cursor.offsets = {"a.seg": number}
        cursor.save()
    with cursor.path.open("ab") as file:
        file.write(torn)
    again = Cursor.load(cursor.path)
    assert again.offsets == {"a.seg": 2}
    again.offsets = {"a.seg": 3}
    again.save()
    assert saved(cursor.path) == {"a.seg": 3}


def test_a_cursor_whose_file_was_taken_away_is_written_again(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path / "cursor.json", {"a.seg": 1})
    cursor.save()
    cursor.path.unlink()
    cursor.offsets = {"a.seg": 2}
    cursor.save()
    assert saved(cursor.path) == {"a.seg": 2}


def test_the_cursor_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cursor.json"
    path.write_text(json.dumps({"offsets": {"a.seg": 5}, "state": {"inode": 1}}))
    found = Cursor.load(path)
    assert (found.offsets, found.state) == ({"a.seg": 5}, {"inode": 1})


def test_a_cursor_with_a_state_is_on_disk_after_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, a loss of power would cut lines off that are nowhere else any more."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    monkeypatch.setattr(os, "fsync", synced.append)
    with_state, without = Cursor(tmp_path / "a", state={"inode": 1}), Cursor(tmp_path / "b")
    for cursor, expected in ((with_state, 4), (without, 1)):
        synced.clear()
        for _ in range(4):
            cursor.save()
        assert len(synced) == expected
