"""LOG-10: what was recorded survives the death of the process that recorded it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.audit.drain import Drain
from appliance.audit.query.filter import EventFilter
from appliance.audit.query.search import AuditSearch
from appliance.audit.segment import segments
from appliance.audit.sinks.lines import JsonLinesSink
from appliance.audit.sinks.store import StoreSink
from appliance.storage.sqlite import SqliteStore
from tests.appliance.audit.test_drain import ids_in
from tests.appliance.audit.waiting import wait_for

ROOT = Path(__file__).parents[3]


def start(spool: Path, acknowledged: Path, worker: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.appliance.audit.writer", str(spool), str(acknowledged), str(worker)]
    return subprocess.Popen(command, cwd=ROOT)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def counted(store: SqliteStore) -> int:
    return sum(number for _, number in AuditSearch(store).top("tenant_id", EventFilter()))


@pytest.mark.integration
def test_log_10_kill_9_loses_no_record_that_was_written(tmp_path: Path) -> None:
    spool, file = tmp_path / "spool", tmp_path / "audit.jsonl"
    store = SqliteStore(tmp_path / "audit.db")
    drain = Drain(spool, [StoreSink(store), JsonLinesSink(file)], interval=0.01)
    drain.start()
    acknowledged = [tmp_path / f"acknowledged-{worker}" for worker in range(2)]
    workers = [start(spool, path, number) for number, path in enumerate(acknowledged)]
    try:
        wait_for(lambda: all(size(path) > 11 * 500 for path in acknowledged), "both workers record")
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
    wait_for(lambda: segments(spool) == [], "everything is drained")
    drain.stop()
    released = {line for path in acknowledged for line in path.read_text().splitlines() if len(line) == 10}
    stored = ids_in(file)
    assert released <= set(stored)
    assert len(stored) == len(set(stored)), "and none of them twice"
    assert len(set(stored) - released) <= 2, "at most the task that each one was recording"
    assert counted(store) == len(stored)
    assert {stats.rejected for stats in drain.stats().values()} == {0}
    store.close()


@pytest.mark.integration
def test_log_10_a_drain_that_dies_at_any_moment_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    spool, file, acknowledged = tmp_path / "spool", tmp_path / "audit.jsonl", tmp_path / "acknowledged"
    worker = start(spool, acknowledged, 0)
    script = (
        "import sys, time; from pathlib import Path\n"
        "from appliance.audit.drain import Drain; from appliance.audit.sinks.lines import JsonLinesSink\n"
        "from appliance.audit.sinks.store import StoreSink; from appliance.storage.sqlite import SqliteStore\n"
        "root = Path(sys.argv[1]); lines = JsonLinesSink(root / 'audit.jsonl', 300_000, keep=1000)\n"
        "sinks = [StoreSink(SqliteStore(root / 'audit.db')), lines]\n"
        "Drain(root / 'spool', sinks, interval=0.001).start(); time.sleep(1000)\n"
    )
    try:
        for round_ in range(4):
            before = size(acknowledged)
            drainer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
            wait_for(lambda before=before: size(acknowledged) > before + 11 * 300, "the worker records")  # type: ignore[misc]
            if round_:
                wait_for(lambda: (tmp_path / "spool" / "cursor-json-lines.json").exists(), "the drain works")
            os.kill(drainer.pid, signal.SIGKILL)
            drainer.wait()
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    store = SqliteStore(tmp_path / "audit.db")
    drain = Drain(spool, [StoreSink(store), JsonLinesSink(file, 300_000, keep=1000)])
    assert drain.drain_once()
    released = {line for line in acknowledged.read_text().splitlines() if len(line) == 10}
    assert counted(store) - len(released) in (0, 1)
    in_files = [name for part in tmp_path.glob("audit.jsonl*") for name in ids_in(part)]
    assert released <= set(in_files)
    assert len(in_files) == len(set(in_files)) == counted(store)
    assert segments(spool) == []
    store.close()
