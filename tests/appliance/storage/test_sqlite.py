import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.clock import ManualClock
from appliance.storage.schema import audit_logs
from appliance.storage.sqlite import SqliteStore, StoreError

DB_07 = {
    "id", "tenant_id", "user_id", "event_type", "source_ip", "target_host", "target_port", "method", "url", "user_agent",
    "response_code", "bytes_sent", "bytes_received", "duration_ms", "blocked", "block_reason", "created_at", "metadata",
}  # fmt: skip
NEWEST = "created_at DESC, seq DESC"


def event(number: int, **changes: Any) -> tuple[dict[str, Any], str]:
    body = {
        "id": f"event-{number:06d}",
        "conn_id": "c1",
        "tenant_id": f"tenant-{number % 3}",
        "user_id": "alice",
        "event_type": "response",
        "source_ip": "10.0.0.1",
        "destination_host": "example.com",
        "destination_port": 443,
        "method": "GET",
        "url": "https://example.com/",
        "user_agent": "curl",
        "status": 200,
        "bytes_sent": 2,
        "bytes_received": 3,
        "duration_ms": 1.5,
        "blocked": number % 10 == 0,
        "reason": "ok",
        "action": "allow",
        "rule": "r",
        "signature": "s",
        "created_at": 1000.0 + number,
    } | changes
    return body, json.dumps(body)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    found = SqliteStore(tmp_path / "audit.db")
    yield found
    found.close()


def rows(path: Path, sql: str, *values: object) -> list[Any]:
    connection = sqlite3.connect(path)
    found = connection.execute(sql, values).fetchall()
    connection.close()
    return found


def test_db_07_all_columns_are_there_and_filled(store: SqliteStore, tmp_path: Path) -> None:
    assert set(audit_logs.columns.keys()) >= DB_07
    store.append([event(10)])
    (row,) = rows(tmp_path / "audit.db", f"SELECT {', '.join(sorted(DB_07))} FROM audit_logs")
    values = dict(zip(sorted(DB_07), row, strict=True))
    assert json.loads(values.pop("metadata")) == event(10)[0]
    assert values == {
        "id": "event-000010", "tenant_id": "tenant-1", "user_id": "alice", "event_type": "response", "source_ip": "10.0.0.1",
        "target_host": "example.com", "target_port": 443, "method": "GET", "url": "https://example.com/", "user_agent": "curl",
        "response_code": 200, "bytes_sent": 2, "bytes_received": 3, "duration_ms": 1.5, "blocked": 1, "block_reason": "ok",
        "created_at": 1010.0,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["connection", "request", "response", "block", "allow", "error"])
def test_log_09_every_event_type_is_stored(store: SqliteStore, tmp_path: Path, kind: str) -> None:
    store.append([event(1, event_type=kind)])
    assert rows(tmp_path / "audit.db", "SELECT event_type FROM audit_logs") == [(kind,)]


def test_db_07_the_five_indexes_are_there(store: SqliteStore, tmp_path: Path) -> None:
    found = {name for (name,) in rows(tmp_path / "audit.db", "SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {f"idx_audit_{name}" for name in ("tenant", "user", "created", "type", "blocked")} <= found


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("tenant_id = 'a'", "idx_audit_tenant"),
        ("user_id = 'a'", "idx_audit_user"),
        ("created_at >= 5 AND created_at < 9", "idx_audit_created"),
        ("event_type = 'block'", "idx_audit_type"),
        ("blocked = 1", "idx_audit_blocked"),
        ("target_host = 'a'", "idx_audit_host"),
        ("source_ip = 'a'", "idx_audit_source"),
        ("block_reason = 'a'", "idx_audit_reason"),
        ("1", "idx_audit_created"),
        ("tenant_id = 'a' AND (created_at, seq) < (5, 7)", "idx_audit_tenant"),
    ],
)
def test_db_07_filter_and_order_come_from_one_index(store: SqliteStore, tmp_path: Path, condition: str, index: str) -> None:
    """No sort step and no full scan: the time for a page does not grow with the table."""
    store.append([event(number) for number in range(100)])
    plan = rows(
        tmp_path / "audit.db",
        f"EXPLAIN QUERY PLAN SELECT metadata FROM audit_logs WHERE {condition} ORDER BY {NEWEST} LIMIT 100",
    )
    text = " | ".join(str(step[3]) for step in plan)
    assert index in text
    assert "TEMP B-TREE" not in text


def test_an_id_that_is_there_is_ignored(store: SqliteStore) -> None:
    assert store.append([event(1), event(2)]) == 2
    assert store.append([event(2), event(3), event(3)]) == 1
    assert len(store.select("1", {}, NEWEST, 10)) == 3
    assert store.append([]) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x" * 10_000},
        {"event_type": "nonsense"},
        {"status": 2**70, "bytes_sent": -(2**70)},
        {"created_at": float("inf"), "duration_ms": float("nan")},
        {"user_agent": "\ud800", "url": None, "rule": ["list"], "blocked": "yes"},
        {"user_id": "a\x00b"},
    ],
)
def test_an_odd_event_stops_no_other(store: SqliteStore, changes: dict[str, Any]) -> None:
    assert store.append([event(1), event(2, **changes), event(3)]) == 3


def test_values_are_parameters(store: SqliteStore) -> None:
    store.append([event(1, tenant_id="it's"), event(2)])
    assert [found[2]["id"] for found in store.select("tenant_id = :t", {"t": "it's"}, NEWEST, 10)] == ["event-000001"]


def test_readers_cannot_write(store: SqliteStore) -> None:
    with pytest.raises(StoreError, match="readonly"), store.reading() as connection:
        connection.exec_driver_sql("DELETE FROM audit_logs")


def test_a_reader_sees_the_last_commit_while_a_batch_is_written(store: SqliteStore) -> None:
    store.append([event(1)])
    with store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM audit_logs")
        assert len(store.select("1", {}, NEWEST, 10)) == 1
    assert store.select("1", {}, NEWEST, 10) == []


def test_a_batch_that_fails_leaves_nothing_and_blocks_nothing(store: SqliteStore) -> None:
    with pytest.raises(RuntimeError), store.writing() as connection:
        connection.exec_driver_sql("INSERT INTO schema_version VALUES (99, 0)")
        raise RuntimeError
    assert store.append([event(1)]) == 1
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT max(version) FROM schema_version").scalar_one() == store.version


def test_many_threads_write_and_read(store: SqliteStore) -> None:
    def work(worker: int) -> None:
        for number in range(20):
            store.append([event(worker * 1000 + number)])
            store.select("tenant_id = :t", {"t": "tenant-1"}, NEWEST, 5)

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, worker) for worker in range(6)]:
            done.result()
    assert store.last_seq() == 120


def test_a_query_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    clock = ManualClock()
    store = SqliteStore(tmp_path / "audit.db", clock=clock, query_seconds=-1)
    store.append([event(number) for number in range(1000)])
    with pytest.raises(StoreError, match="too long"):
        store.select("(SELECT count(*) FROM audit_logs a, audit_logs b) > 0", {}, NEWEST, 1)
    store.append([event(5000)])
    store.close()


def test_retention_deletes_what_is_older_in_batches(tmp_path: Path) -> None:
    clock = ManualClock(time=2000.0)
    store = SqliteStore(tmp_path / "audit.db", clock=clock)
    store.append([event(number) for number in range(100)])
    assert store.delete_before(1010.0, batch=3) == 10
    assert store.retain(2000.0 - 1050.0) == 40
    assert [round(found[1]) for found in store.select("1", {}, "created_at", 1)] == [1050]
    assert store.retain(0) == 0
    store.close()


def test_retention_can_be_stopped(store: SqliteStore) -> None:
    store.append([event(number) for number in range(100)])
    stop = threading.Event()
    stop.set()
    assert store.delete_before(1e9, batch=10, stop=stop) == 0


def test_retention_gives_the_room_back(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    store = SqliteStore(path)
    store.append([event(number, url="u" * 3000) for number in range(1000)])
    store.close()
    before = path.stat().st_size
    store = SqliteStore(path)
    store.delete_before(1e9, batch=100)
    store.close()
    assert path.stat().st_size < before / 2


def test_numbers_are_never_used_again(store: SqliteStore) -> None:
    store.append([event(1), event(2)])
    store.delete_before(1e9)
    store.append([event(3)])
    assert store.last_seq() == 3


def test_the_file_is_private(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "new" / "audit.db")
    store.append([event(1)])
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}
    store.close()


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "audit.db").write_bytes(b"this is not a database, not even a little bit of one" * 100)
    with pytest.raises(StoreError, match="not a database"):
        SqliteStore(tmp_path / "audit.db")


def test_a_closed_store_is_a_healthy_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "audit.db")
    store.append([event(1)])
    store.check()
    store.close()
    assert rows(tmp_path / "audit.db", "PRAGMA integrity_check") == [("ok",)]
    assert rows(tmp_path / "audit.db", "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 63, 64, 65, 72, 73, 200])
def test_any_number_of_events_is_stored_in_order(store: SqliteStore, number: int) -> None:
    """At the bounds of how many rows one statement takes."""
    assert store.append([event(each) for each in range(number)]) == number
    assert store.append([event(each) for each in range(-3, number)]) == 3
    found = store.select("created_at >= 1000.0", {}, "seq", 1000)
    assert [body["id"] for _, _, body in found] == [event(each)[0]["id"] for each in range(number)]


def test_a_new_file_has_large_pages_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old.db")
    old.execute("PRAGMA page_size = 4096")
    old.execute("CREATE TABLE before (x)")
    old.close()
    for name, size in (("new.db", 8192), ("old.db", 4096)):
        store = SqliteStore(tmp_path / name)
        assert store.append([event(1)]) == 1
        store.close()
        assert rows(tmp_path / name, "PRAGMA page_size") == [(size,)]
        assert rows(tmp_path / name, "PRAGMA auto_vacuum") == [(2 if name == "new.db" else 0,)]
