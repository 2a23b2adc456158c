import errno
import json
import os
from pathlib import Path

import pytest

from appliance.audit.errors import SpoolError, SpoolFull
from appliance.audit.mask import Masker
from appliance.audit.record import to_event
from appliance.audit.recorder import Recorder
from appliance.audit.segment import directory_size, is_released, read_chunk, segments
from appliance.audit.spool import FULL_SHARE, Spool
from appliance.domain.clock import ManualClock
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from tests.appliance.audit.samples import full_task, task

MEGABYTE = 1024 * 1024


def lines(directory: Path) -> list[bytes]:
    return [line for path in segments(directory) for line in read_chunk(path, 0, released=False).lines]


def test_a_record_is_one_line_and_there_at_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0, MEGABYTE)
    spool.write(b'{"id":"a"}')
    spool.write(b'{"id":"b"}')
    assert lines(tmp_path) == [b'{"id":"a"}', b'{"id":"b"}']
    assert spool.stats.records == 2
    assert spool.stats.bytes == 22
    spool.close()


def test_each_writer_has_its_own_segment_and_holds_it(tmp_path: Path) -> None:
    first, second = Spool(tmp_path, 0, MEGABYTE), Spool(tmp_path, 1, MEGABYTE)
    held = segments(tmp_path)
    assert len(held) == 2
    assert not any(is_released(path) for path in held)
    first.close()
    assert [is_released(path) for path in held].count(True) == 1
    second.close()
    assert all(is_released(path) for path in held)


def test_segments_rotate_by_size(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0, MEGABYTE, segment_bytes=100)
    for _ in range(3):
        spool.write(b"x" * 99)
    assert len(segments(tmp_path)) == 3
    assert [is_released(path) for path in segments(tmp_path)] == [True, True, False]
    spool.close()


def test_segments_rotate_by_age_but_empty_ones_stay(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = Spool(tmp_path, 0, MEGABYTE, segment_age=60, clock=clock)
    clock.advance(61)
    spool.write(b"a")
    assert len(segments(tmp_path)) == 1
    clock.advance(61)
    spool.write(b"b")
    assert len(segments(tmp_path)) == 2
    spool.close()


def test_the_bound_holds_for_the_directory(tmp_path: Path) -> None:
    """All writers together: what another one wrote counts."""
    clock = ManualClock()
    other = Spool(tmp_path, 1, 10_000, clock=clock)
    spool = Spool(tmp_path, 0, 10_000, clock=clock)
    other.write(b"x" * 8_999)
    clock.advance(1)
    assert spool.full
    spool.write(b"y" * 999)  # a task under way still finds room
    with pytest.raises(SpoolFull) as caught:
        spool.write(b"z")
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
    assert spool.stats.refused == 1
    assert directory_size(tmp_path) == 10_000
    max(segments(tmp_path), key=lambda path: path.stat().st_size).unlink()
    clock.advance(1)
    assert not spool.full
    spool.close()
    other.close()


def test_full_begins_exactly_at_its_share(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0, 1_000)
    spool.write(b"x" * (int(1_000 * FULL_SHARE) - 2))
    assert not spool.full
    spool.write(b"")
    assert spool.full
    spool.close()


def test_a_segment_that_somebody_removed_is_replaced(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = Spool(tmp_path, 0, MEGABYTE, clock=clock)
    segments(tmp_path)[0].unlink()
    clock.advance(1)
    spool.write(b"kept")
    assert lines(tmp_path) == [b"kept"]
    spool.close()


class Disk:
    """Stands between the spool and ``os.write``: takes ``room`` bytes, then fails as a disk does."""

    def __init__(self, room: int, error: int = errno.ENOSPC) -> None:
        self.room = room
        self.error = error
        self._write = os.write

    def write(self, fd: int, data: bytes) -> int:
        taken = data[: self.room]
        if not taken:
            raise OSError(self.error, os.strerror(self.error))
        self.room -= len(taken)
        return self._write(fd, taken)


def test_a_record_that_fits_in_part_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    spool = Spool(tmp_path, 0, MEGABYTE, clock=clock)
    spool.write(b"first")
    disk = Disk(room=3)
    monkeypatch.setattr(os, "write", disk.write)
    with pytest.raises(SpoolFull):
        spool.write(b"second")
    assert spool.full
    assert segments(tmp_path)[0].read_bytes() == b"first\n"
    clock.advance(1)
    assert spool.full, "the probe finds no room either"
    disk.room = MEGABYTE
    clock.advance(1)
    assert not spool.full
    spool.write(b"third")
    assert lines(tmp_path) == [b"first", b"third"]
    spool.close()


def test_a_torn_line_that_cannot_be_taken_back_ends_its_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, 0, MEGABYTE)
    disk = Disk(room=3)

    def no_truncate(fd: int, length: int) -> None:
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", disk.write)
        patch.setattr(os, "ftruncate", no_truncate)
        with pytest.raises(SpoolFull):
            spool.write(b"second")
    spool.write(b"third")
    torn, good = (path.read_bytes() for path in segments(tmp_path))
    assert (torn, good) == (b"sec", b"third\n")
    assert read_chunk(segments(tmp_path)[0], 0, released=True).torn == 3
    spool.close()


def test_an_error_of_the_disk_is_an_error_of_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, 0, MEGABYTE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(0, errno.EIO).write)
        with pytest.raises(SpoolError) as caught:
            spool.write(b"x")
    assert not isinstance(caught.value, SpoolFull)
    assert caught.value.reason is Reason.INTERNAL_ERROR
    assert spool.full
    spool.close()


def test_a_directory_that_cannot_be_made_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError):
        Spool(tmp_path / "file" / "spool", 0, MEGABYTE)


def test_a_rotation_that_fails_goes_on_in_the_old_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, 0, MEGABYTE, segment_bytes=1)
    spool.write(b"a")
    descriptors = len(os.listdir("/proc/self/fd"))

    def no_link(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", no_link)
        spool.write(b"b")
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert lines(tmp_path) == [b"a", b"b"]
    spool.write(b"c")
    assert len(segments(tmp_path)) == 2
    spool.close()


def test_a_directory_that_cannot_be_read_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    spool = Spool(tmp_path, 0, MEGABYTE, clock=clock)

    def no_scan(path: Path) -> None:
        raise OSError(errno.EIO, "no")

    clock.advance(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", no_scan)
        assert spool.full
        with pytest.raises(SpoolError):
            spool.write(b"x")
    clock.advance(1)
    assert not spool.full
    spool.close()


def test_segments_are_private(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 0, MEGABYTE)
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert segments(tmp_path / "spool")[0].stat().st_mode & 0o777 == 0o600
    spool.close()


def test_a_task_is_recorded_once(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = Spool(tmp_path, 0, MEGABYTE)
    recorder = Recorder(spool, clock=clock)
    notes = task("one", ended=0.0, user_agent="é\r\n")
    recorder.record(notes)
    recorder.record(notes)
    (line,) = lines(tmp_path)
    assert line.isascii()
    event = json.loads(line)
    assert (event["id"], event["created_at"]) == ("one", clock.time)
    spool.close()


def test_what_is_written_is_the_event_also_when_the_connection_changes(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0, MEGABYTE)
    recorder = Recorder(spool, mask_query=["token"])
    wanted = []

    def record(notes: TaskNotes) -> None:
        recorder.record(notes)
        wanted.append(json.loads(json.dumps(to_event(notes, Masker(["token"])))))

    first = full_task()
    record(first)
    again = full_task(conn=first.conn, path="/second")
    record(again)
    assert first.conn.server_tls
    first.conn.server_tls.verify = "expired"
    record(full_task(conn=first.conn))
    first.conn.client_tls = None
    record(full_task(conn=first.conn))
    record(task())
    assert [json.loads(line) for line in lines(tmp_path)] == wanted
    spool.close()


def test_a_record_that_failed_is_not_recorded(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0, 10)
    recorder = Recorder(spool)
    notes = task()
    with pytest.raises(SpoolFull):
        recorder.record(notes)
    assert not notes.recorded
    assert not recorder.full, "the bound is not reached: only this record does not fit"
    spool.close()


def test_what_is_no_json_is_refused_not_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0, MEGABYTE)
    notes = task()
    notes.steps["wait"] = float("nan")
    with pytest.raises(SpoolError, match="no JSON"):
        Recorder(spool).record(notes)
    assert lines(tmp_path) == []
    spool.close()


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_reading_in_small_pieces_gives_the_same_lines(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.seg"
    wanted = [b"a", b"bbbbbbb", b"cc"]
    path.write_bytes(b"a\n\nbbbbbbb\ncc\ntorn")
    found, offset = [], 0
    while (chunk := read_chunk(path, offset, released=True, size=size)).end > offset:
        found += chunk.lines
        offset = chunk.end
    assert found == wanted
    assert offset == path.stat().st_size
    assert read_chunk(path, 0, released=False).torn == 0
