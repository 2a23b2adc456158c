"""D5: what clients accept is stored once, and again when that says something new."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from appliance.domain.learning import Acceptance
from appliance.storage import observations
from appliance.storage.observations import FRESH, MEMORY, Observations
from appliance.storage.sqlite import SqliteStore, StoreError

SEEN = Acceptance("acme", "10.0.0.1", "ja4", "a.test", "App/1", 1000.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "audit.db")
    yield store
    store.close()


def rows(store: SqliteStore) -> list[tuple[str, str, float]]:
    with store.reading() as connection:
        sql = text("SELECT host, user_agent, seen_at FROM tls_acceptances ORDER BY host")
        return [tuple(row) for row in connection.execute(sql)]


def test_d5_an_acceptance_is_stored_again_once_it_is_no_longer_fresh(store: SqliteStore) -> None:
    kept = Observations(store)
    assert kept.observe([], [SEEN, replace(SEEN, at=1001.0)]) == 1
    assert kept.observe([], [replace(SEEN, at=1001.0 + FRESH - 0.1)]) == 0
    assert rows(store) == [("a.test", "App/1", 1001.0)]
    assert kept.observe([], [replace(SEEN, at=1001.0 + FRESH)]) == 1
    assert rows(store) == [("a.test", "App/1", 1001.0 + FRESH)]


@pytest.mark.parametrize(
    ("part", "value"),
    [("tenant", "blue"), ("client", "10.0.0.2"), ("fingerprint", "other"), ("host", "b.test"), ("user_agent", "App/2")],
)
def test_d5_what_differs_in_anything_is_stored(store: SqliteStore, part: str, value: str) -> None:
    kept = Observations(store)
    kept.observe([], [SEEN])
    assert kept.observe([], [replace(SEEN, **{part: value})]) == 1


def test_d5_of_a_batch_the_last_name_and_the_newest_time_count(store: SqliteStore) -> None:
    Observations(store).observe([], [replace(SEEN, at=1003.0), replace(SEEN, user_agent="App/2", at=1002.0)])
    assert rows(store) == [("a.test", "App/2", 1003.0)]


def test_d5_what_was_not_stored_or_was_forgotten_is_stored(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Observations(store)
    with monkeypatch.context() as broken:
        broken.setattr(observations, "_ACCEPT", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?, ?)")
        with pytest.raises(StoreError):
            kept.observe([], [SEEN])
    assert kept.observe([], [SEEN]) == 1
    kept.prune(SEEN.at + MEMORY + 1)
    assert rows(store) == []
    assert kept.observe([], [replace(SEEN, at=SEEN.at + 1)]) == 1
    assert len(rows(store)) == 1


def test_d5_what_is_remembered_is_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observations, "REMEMBERED", 3)
    kept = Observations(store)
    for number in range(20):
        kept.observe([], [replace(SEEN, host=f"h{number}.test")])
        assert len(kept._stored) <= 4
