"""D3: the ledger folds each event once, and adds up to the events' own counters."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.audit.drain import Drain
from appliance.audit.sinks.base import Written
from appliance.audit.sinks.store import StoreSink
from appliance.domain.coverage import SPLICES, Bucket, key
from appliance.domain.coverage_report import BY, ORDERS, Report
from appliance.storage.coverage import HOUR, CoverageLedger
from appliance.storage.sqlite import SqliteStore, StoreError

START = 1_760_000_400  # a full hour
NUMBERS = iter(range(1_000_000))


def event(sizes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    known = {
        "id": f"{next(NUMBERS):026d}",
        "tenant_id": "a",
        "destination_host": "a.test",
        "user_id": "",
        "created_at": START + 5.0,
    }
    return known | {"coverage": sizes} | fields


def lines(*events: dict[str, Any]) -> list[bytes]:
    return [json.dumps(each).encode() for each in events]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "audit.db")
    yield made
    made.close()


def put(store: SqliteStore, *events: dict[str, Any]) -> Written:
    return StoreSink(store).write(lines(*events))


def whole(store: SqliteStore, **asked: Any) -> dict[str, tuple[int, int]]:
    report = CoverageLedger(store).report(START, START + HOUR, "bucket", **asked)
    return {f"{each.direction}: {each.bucket} {each.why}".strip(): (each.bytes, each.tasks) for each in report.whole.parts}


def test_events_become_rows_of_their_hour(store: SqliteStore) -> None:
    put(
        store,
        event({"request: scanned": 10, "response: not_scanned too_large": 100}),
        event({"request: scanned": 5}),
        event({"response: spliced rule": 7}, created_at=START + HOUR + 1.0),
        event({}),
    )
    assert whole(store) == {"request: scanned": (15, 2), "response: not_scanned too_large": (100, 1)}
    later = CoverageLedger(store).report(START + HOUR, START + HOUR + 1)
    assert (later.since, later.until) == (START + HOUR, START + 2 * HOUR)
    assert (later.whole.bytes, later.whole.not_inspected, later.whole.share) == (7, 7, 0.0)


def test_an_event_that_is_offered_again_changes_nothing(store: SqliteStore) -> None:
    one, two = event({"request: scanned": 10}), event({"request: scanned": 1})
    put(store, one)
    put(store, one, one, two)
    put(store, two)
    assert whole(store) == {"request: scanned": (11, 2)}


def test_a_batch_that_fails_is_neither_stored_nor_counted(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.storage import coverage

    with monkeypatch.context() as patched, pytest.raises(StoreError):
        patched.setattr(coverage, "_ADD", "SELECT * FROM nothing")
        put(store, event({"request: scanned": 10}))
    assert store.last_seq() == 0
    put(store, event({"request: scanned": 10}))
    assert whole(store) == {"request: scanned": (10, 1)}


def test_a_drain_that_loses_its_cursor_counts_nothing_twice(store: SqliteStore, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "w-0001.seg").write_bytes(b"".join(each + b"\n" for each in lines(*[event({"response: scanned": 3})] * 3)))
    assert Drain(spool, [StoreSink(store)]).drain_once()
    (spool / "w-0002.seg").write_bytes(b"".join(each + b"\n" for each in lines(event({"response: scanned": 4}))))
    for cursor in spool.glob("cursor-*.json"):
        cursor.unlink()
    assert Drain(spool, [StoreSink(store)]).drain_once()
    assert whole(store) == {"response: scanned": (7, 2)}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=6))
def test_whatever_is_offered_again_is_counted_once(store: SqliteStore, batches: list[list[int]]) -> None:
    """Batches of which the store has all, some or nothing, and with an event twice."""
    start = START + next(NUMBERS) * HOUR
    made = [event({"request: scanned": 1 << number}, created_at=start + 1.0) for number in range(10)]
    for numbers in batches:
        put(store, *(made[number] for number in numbers))
    report = CoverageLedger(store).report(start, start + HOUR)
    assert report.whole.bytes == sum(1 << number for number in {number for numbers in batches for number in numbers})


@pytest.mark.parametrize("name", ["", "request", "request:scanned", ": scanned", "\ud800: scanned", "a: b\x00 c", "a: "])
def test_an_odd_key_stops_nothing(store: SqliteStore, name: str) -> None:
    put(store, event({name: 5}), event({"request: scanned": 2}))
    assert whole(store)["request: scanned"] == (2, 1)


KEYS = st.sampled_from(
    [
        key(direction, bucket, why)
        for direction in ("request", "response")
        for bucket, why in ((Bucket.SCANNED, ""), (Bucket.NOT_SCANNED, "too_large"), (Bucket.BLOCKED, ""), (Bucket.OWN, ""))
    ]
    + [key("request", Bucket.SPLICED, why) for why in SPLICES]
)
EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y"]), st.dictionaries(KEYS, st.integers(1, 1 << 40), max_size=4)),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(EVENTS, st.sampled_from(BY), st.sampled_from(ORDERS))
def test_the_ledger_adds_up_to_the_events(
    store: SqliteStore, told: list[tuple[str, str, dict[str, int]]], by: Any, order: str
) -> None:
    start = START + next(NUMBERS) * HOUR  # an hour that no other example has
    made = {"created_at": start + 1.0}
    put(store, *(event(sizes, tenant_id=tenant, destination_host=host, user_id=host, **made) for tenant, host, sizes in told))
    report = CoverageLedger(store).report(start, start + HOUR, by, order=order)
    total = sum(sum(sizes.values()) for _, _, sizes in told)
    assert report.whole.bytes == report.whole.scanned + report.whole.not_inspected + report.whole.other == total
    if by != "bucket":
        assert sum(each.bytes for each in report.lines) == total
        assert _sorted(report, order)
    for tenant in "ab":
        own = CoverageLedger(store).report(start, start + HOUR, by, tenant=tenant)
        assert own.whole.bytes == sum(sum(sizes.values()) for name, _, sizes in told if name == tenant)


def _sorted(report: Report, order: str) -> bool:
    if order == "share":
        shares = [1.0 if each.share is None else each.share for each in report.lines]
        return shares == sorted(shares)
    sizes = [each.bytes if order == "bytes" else each.not_inspected for each in report.lines]
    return sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("by", BY)
def test_a_tenant_s_report_has_nothing_of_another_s(store: SqliteStore, by: Any) -> None:
    """Same host, same user, same hour: only the tenant differs."""
    put(store, event({"request: scanned": 1}, user_id="u"), event({"request: spliced rule": 1000}, tenant_id="b", user_id="u"))
    report = CoverageLedger(store).report(START, START + HOUR, by, tenant="a")
    assert (report.whole.bytes, report.whole.not_inspected) == (1, 0)
    assert all((each.bytes, each.not_inspected) == (1, 0) and each.name != "b" for each in report.lines)
    for other in ("", "c", "A", "a' OR '1'='1", "%"):
        nobody = CoverageLedger(store).report(START, START + HOUR, by, tenant=other)
        assert (nobody.whole.bytes, nobody.lines) == (0, ())


def test_the_lines_that_are_shown_are_the_worst(store: SqliteStore) -> None:
    put(store, *(event({"response: spliced rule": size}, destination_host=f"h{size}.test") for size in range(1, 8)))
    report = CoverageLedger(store).report(START, START + HOUR, limit=2)
    assert [each.name for each in report.lines] == ["h7.test", "h6.test"]
    assert report.whole.bytes == sum(range(1, 8))


def test_old_hours_are_forgotten(store: SqliteStore) -> None:
    put(store, *(event({"request: scanned": 1}, created_at=START + hours * HOUR + 1.0) for hours in range(4)))
    CoverageLedger(store).delete_before(START + 2 * HOUR + 10)
    left = CoverageLedger(store).report(0, START + 10 * HOUR)
    assert left.whole.bytes == 2
    CoverageLedger(store).delete_before(START + 100 * HOUR)
    assert CoverageLedger(store).report(0, START + 10 * HOUR).whole.bytes == 0


@pytest.mark.parametrize(
    "odd",
    [
        {"request: scanned": -1}, {"request: scanned": 1 << 60}, {"request: scanned": 1 << 70}, {"request: scanned": "5"},
        {"request: scanned": 1.5}, {"request: scanned": None}, {"request: scanned": [1]}, {"request: scanned": True},
        [1, 2], "text", 7, None,
    ],
)  # fmt: skip
def test_an_odd_event_stops_no_other(store: SqliteStore, odd: Any) -> None:
    put(store, event(odd), event({"request: scanned": 2}))
    assert whole(store)["request: scanned"] == (2, 1)


def test_json_that_only_python_reads_stops_nothing(store: SqliteStore) -> None:
    nested = b'{"id": "deep", "x": ' + b"[" * 1500 + b"]" * 1500 + b"}"
    StoreSink(store).write([b'{"id": "nan", "x": NaN}', nested, *lines(event({"request: scanned": 2}))])
    assert whole(store) == {"request: scanned": (2, 1)}
