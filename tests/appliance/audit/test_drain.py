import json
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.audit.drain import Drain
from appliance.audit.feed import Feed
from appliance.audit.query.filter import EventFilter
from appliance.audit.query.search import AuditSearch
from appliance.audit.recorder import Recorder
from appliance.audit.segment import segments
from appliance.audit.sinks.base import State, Written
from appliance.audit.sinks.lines import JsonLinesSink
from appliance.audit.sinks.store import StoreSink
from appliance.audit.spool import Spool
from appliance.storage.sqlite import SqliteStore
from tests.appliance.audit.samples import task
from tests.appliance.audit.waiting import wait_for

MEGABYTE = 1024 * 1024


class MemorySink:
    """Keeps lines, and fails or hangs when told to."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.lines: list[bytes] = []
        self.broken: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def open(self, state: State) -> State:
        return state

    def write(self, lines: Sequence[bytes]) -> Written:
        self.gate.wait()
        if self.broken:
            raise self.broken
        self.lines += lines
        return Written()

    def close(self) -> None:
        """Nothing is open."""


def record(spool: Spool, *ids: str) -> None:
    recorder = Recorder(spool)
    for task_id in ids:
        recorder.record(task(task_id))


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()] if path.exists() else []


def test_events_of_all_workers_reach_all_sinks_and_segments_go(tmp_path: Path) -> None:
    spool_dir, file = tmp_path / "spool", tmp_path / "audit.jsonl"
    store = SqliteStore(tmp_path / "audit.db")
    drain = Drain(spool_dir, [StoreSink(store), JsonLinesSink(file)], interval=0.01)
    drain.start()
    workers = [Spool(spool_dir, index, MEGABYTE, segment_bytes=2_000) for index in range(3)]
    wanted = [f"{worker}-{number}" for worker in range(3) for number in range(20)]
    for index, spool in enumerate(workers):
        record(spool, *(name for name in wanted if name.startswith(str(index))))
    search = AuditSearch(store)
    wait_for(lambda: len(search.list(EventFilter(limit=1000)).events) == 60, "all events in the store")
    wait_for(lambda: len(ids_in(file)) == 60, "all events in the file")
    wait_for(lambda: len(segments(spool_dir)) == 3, "only the live segments are left")
    assert sorted(ids_in(file)) == sorted(wanted)
    wait_for(lambda: {stats.lag_bytes for stats in drain.stats().values()} == {0}, "both cursors are saved")
    for spool in workers:
        spool.close()
    wait_for(lambda: segments(spool_dir) == [], "the released segments are deleted")
    drain.stop()
    store.close()


def test_log_06_a_sink_that_fails_stops_no_other_and_loses_nothing(tmp_path: Path) -> None:
    good, bad = MemorySink("good"), MemorySink("bad")
    bad.broken = OSError("down")
    spool = Spool(tmp_path, 0, MEGABYTE)
    record(spool, "a", "b")
    drain = Drain(tmp_path, [bad, good])
    assert not drain.drain_once()
    spool.close()
    assert not drain.drain_once()
    assert len(good.lines) == 2
    assert bad.lines == []
    assert len(segments(tmp_path)) == 1, "kept for the sink that is down"
    stats = drain.stats()["bad"]
    assert (stats.healthy, stats.errors, stats.lag_bytes > 0, stats.last_error) == (False, 2, True, "OSError: down")
    assert drain.stats()["good"].lag_bytes == 0
    bad.broken = None
    assert drain.drain_once()
    assert bad.lines == good.lines
    assert segments(tmp_path) == []


def test_log_06_a_sink_that_hangs_stops_neither_recording_nor_the_other(tmp_path: Path) -> None:
    good, hanging = MemorySink("good"), MemorySink("hanging")
    hanging.gate.clear()
    spool = Spool(tmp_path, 0, MEGABYTE)
    drain = Drain(tmp_path, [hanging, good], interval=0.01)
    drain.start()
    record(spool, "a")
    wait_for(lambda: len(good.lines) == 1, "the first event")
    record(spool, "b")
    wait_for(lambda: len(good.lines) == 2, "the second event, while the other sink still has the first")
    assert hanging.lines == []
    hanging.gate.set()
    wait_for(lambda: len(hanging.lines) == 2, "the other sink catches up")
    drain.stop()
    spool.close()


def test_a_new_drain_goes_on_where_the_last_one_stood(tmp_path: Path) -> None:
    sink = MemorySink()
    spool = Spool(tmp_path, 0, MEGABYTE)
    record(spool, "a")
    Drain(tmp_path, [sink]).drain_once()
    record(spool, "b")
    Drain(tmp_path, [sink]).drain_once()
    assert [json.loads(line)["id"] for line in sink.lines] == ["a", "b"]
    spool.close()


def test_a_cursor_that_was_not_saved_makes_no_second_event(tmp_path: Path) -> None:
    """The process died between the sinks' commit and the cursor's: everything is offered again."""
    spool_dir, file = tmp_path / "spool", tmp_path / "audit.jsonl"
    store = SqliteStore(tmp_path / "audit.db")
    spool = Spool(spool_dir, 0, MEGABYTE)
    record(spool, "a")
    Drain(spool_dir, [StoreSink(store), JsonLinesSink(file)]).drain_once()
    saved = {path: path.read_bytes() for path in spool_dir.glob("cursor-*.json")}
    assert len(saved) == 2
    record(spool, "b", "c")
    Drain(spool_dir, [StoreSink(store), JsonLinesSink(file)]).drain_once()
    for path, content in saved.items():
        path.write_bytes(content)
    Drain(spool_dir, [StoreSink(store), JsonLinesSink(file)]).drain_once()
    assert ids_in(file) == ["a", "b", "c"]
    assert len(AuditSearch(store).list(EventFilter()).events) == 3
    spool.close()
    store.close()


def test_a_damaged_cursor_offers_everything_again(tmp_path: Path) -> None:
    spool_dir = tmp_path / "spool"
    store = SqliteStore(tmp_path / "audit.db")
    spool = Spool(spool_dir, 0, MEGABYTE)
    record(spool, "a")
    Drain(spool_dir, [StoreSink(store)]).drain_once()
    (spool_dir / "cursor-store.json").write_bytes(b'{"offsets": [')
    record(spool, "b")
    assert Drain(spool_dir, [StoreSink(store)]).drain_once()
    assert len(AuditSearch(store).list(EventFilter()).events) == 2
    spool.close()
    store.close()


def test_lines_that_are_no_events_are_counted_and_passed_over(tmp_path: Path) -> None:
    spool_dir = tmp_path / "spool"
    store = SqliteStore(tmp_path / "audit.db")
    spool = Spool(spool_dir, 0, MEGABYTE)
    record(spool, "a")
    for junk in (b"\x00\x00\x00", b"[1]", b'{"id": 5}', b"[" * 50_000):
        spool.write(junk)
    record(spool, "b")
    drain = Drain(spool_dir, [StoreSink(store)])
    assert drain.drain_once()
    assert drain.stats()["store"].rejected == 4
    assert len(AuditSearch(store).list(EventFilter()).events) == 2
    spool.close()
    store.close()


def test_an_unfinished_line_is_waited_for_while_its_writer_lives(tmp_path: Path) -> None:
    sink = MemorySink()
    spool = Spool(tmp_path, 0, MEGABYTE)
    record(spool, "a")
    (segment,) = segments(tmp_path)
    with segment.open("ab") as file:
        file.write(b'{"id":"b"')
        file.flush()
        drain = Drain(tmp_path, [sink])
        drain.drain_once()
        assert len(sink.lines) == 1
        file.write(b"}\n")
    drain.drain_once()
    assert sink.lines[1] == b'{"id":"b"}'
    with segment.open("ab") as file:
        file.write(b"torn")
    spool.close()
    drain.drain_once()
    assert len(sink.lines) == 2
    assert drain.stats()["memory"].torn == 1
    assert segments(tmp_path) == []


def test_two_drains_do_not_work_at_once(tmp_path: Path) -> None:
    first, second = MemorySink(), MemorySink()
    spool = Spool(tmp_path, 0, MEGABYTE)
    leader, follower = Drain(tmp_path, [first], interval=0.01), Drain(tmp_path, [second], interval=0.01)
    leader.start()
    record(spool, "a")
    wait_for(lambda: len(first.lines) == 1, "the first drain works")
    follower.start()
    record(spool, "b")
    wait_for(lambda: len(first.lines) == 2, "the first drain still works")
    assert second.lines == []
    leader.stop()
    record(spool, "c")
    wait_for(lambda: len(second.lines) == 1, "the second one takes over")
    follower.stop()
    spool.close()


def test_stop_takes_what_is_there(tmp_path: Path) -> None:
    sink = MemorySink()
    spool = Spool(tmp_path, 0, MEGABYTE)
    drain = Drain(tmp_path, [sink], interval=0.01)
    drain.start()
    record(spool, "a")
    wait_for(lambda: len(sink.lines) == 1, "the drain works")
    record(spool, *(str(number) for number in range(500)))
    drain.stop()
    assert len(sink.lines) == 501
    spool.close()


def test_a_drain_without_sinks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sink"):
        Drain(tmp_path, [])


def test_feeds_sleep_while_nothing_comes_and_take_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drain looks for all of them: an idle process costs one look for each beat, however many sinks it has."""
    beats, passes = Counter[str](), Counter[str]()
    look, carry = Drain._sweep, Feed.pump

    def beat(drain: Drain) -> None:
        beats["all"] += 1
        look(drain)

    def pump(feed: Feed) -> bool:
        passes[feed.name] += 1
        return carry(feed)

    monkeypatch.setattr(Drain, "_sweep", beat)
    monkeypatch.setattr(Feed, "pump", pump)
    spool, sink = Spool(tmp_path, 0, MEGABYTE), MemorySink()
    drain = Drain(tmp_path, [sink], interval=0.01)
    drain.start()
    try:
        for number in range(3):
            spool.write(b'{"id":"%d"}' % number)
            wait_for(lambda: drain.stats()["memory"].lag_bytes == 0, "what came is taken")
            before, passed = beats["all"], passes["memory"]
            wait_for(lambda: beats["all"] > before + 10, "ten beats")  # noqa: B023
            assert passes["memory"] <= passed + 1, "the one that it was woken for while it took the lines"
        assert len(sink.lines) == 3
    finally:
        drain.stop()
        spool.close()
