"""A disk that is really full: a small tmpfs where we may mount one, and a limit on the size of files everywhere."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.audit.drain import Drain
from appliance.audit.errors import SpoolFull
from appliance.audit.recorder import Recorder
from appliance.audit.segment import read_chunk, segments
from appliance.audit.sinks.lines import JsonLinesSink
from appliance.audit.spool import Spool
from appliance.domain.clock import ManualClock
from tests.appliance.audit.samples import full_task
from tests.appliance.audit.test_drain import ids_in

ROOT = Path(__file__).parents[3]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """256 KiB."""
    point = tmp_path / "disk"
    point.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount; the test with RLIMIT_FSIZE runs everywhere")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "arcus-test", str(point)], check=True)
    yield point
    subprocess.run(["umount", str(point)], check=True)


def fill(recorder: Recorder) -> list[str]:
    """Record until there is no room. Returns what was taken."""
    taken: list[str] = []
    for number in range(1_000):
        notes = full_task(task_id=f"{number:06d}")
        try:
            recorder.record(notes)
        except SpoolFull:
            return taken
        taken.append(f"{number:06d}")
    raise AssertionError("the disk never became full")


@pytest.mark.integration
def test_log_06_a_full_disk_refuses_records_keeps_what_it_took_and_recovers(small_disk: Path, tmp_path: Path) -> None:
    clock = ManualClock()
    spool = Spool(small_disk / "spool", 0, 1 << 30, clock=clock)
    recorder = Recorder(spool)
    taken = fill(recorder)
    clock.advance(1)
    assert recorder.full, "and stays so: no task is let in"
    (segment,) = segments(small_disk / "spool")
    chunk = read_chunk(segment, 0, released=True)
    assert (len(chunk.lines), chunk.torn) == (len(taken), 0), "no torn line is left"
    ballast = small_disk / "ballast"
    assert not ballast.exists()
    # the way out: a sink on another disk takes the events, the segment is released, and its room is free again
    file = tmp_path / "audit.jsonl"
    subprocess.run(["mount", "-o", "remount,size=512k", str(small_disk)], check=True)
    clock.advance(1)
    assert not recorder.full
    recorder.record(full_task(task_id="after!"))
    spool.close()
    assert Drain(small_disk / "spool", [JsonLinesSink(file)]).drain_once()
    assert ids_in(file) == [*taken, "after!"]
    assert segments(small_disk / "spool") == []


@pytest.mark.integration
def test_log_06_a_sink_on_a_full_disk_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 0, 1 << 30)
    recorder = Recorder(spool)
    ids = [f"{number:06d}" for number in range(100)]
    for name in ids:
        recorder.record(full_task(task_id=name))
    file = small_disk / "audit.jsonl"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 200_000)
    drain = Drain(tmp_path / "spool", [JsonLinesSink(file)])
    assert not drain.drain_once()
    assert "No space" in drain.stats()["json-lines"].last_error
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    ballast.unlink()
    assert drain.drain_once()
    assert ids_in(file) == ids
    spool.close()


_LIMITED = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
from appliance.audit.recorder import Recorder
from appliance.audit.spool import Spool
from tests.appliance.audit.test_disk_full import fill
spool = Spool(Path(sys.argv[1]), 0, 1 << 30)
print(len(fill(Recorder(spool))), spool.full, spool.stats.refused)
"""


@pytest.mark.integration
def test_log_06_a_write_that_is_cut_short_is_refused_and_taken_back(tmp_path: Path) -> None:
    assert resource.RLIM_INFINITY in resource.getrlimit(resource.RLIMIT_FSIZE)
    command = [sys.executable, "-c", _LIMITED, str(tmp_path / "spool")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    taken, full, refused = done.stdout.split()
    (segment,) = segments(tmp_path / "spool")
    chunk = read_chunk(segment, 0, released=True)
    assert (len(chunk.lines), chunk.torn) == (int(taken), 0)
    assert int(taken) > 5
    assert (full, refused) == ("True", "1")
