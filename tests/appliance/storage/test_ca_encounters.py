"""The table of clients and CAs; D8."""

from pathlib import Path

import pytest

from appliance.domain.readiness import Encounter
from appliance.storage import ca_encounters
from appliance.storage.ca_encounters import MEMORY, CaEncounters
from appliance.storage.sqlite import SqliteStore

A, B = "a" * 64, "b" * 64


@pytest.fixture
def table(tmp_path: Path):
    store = SqliteStore(tmp_path / "audit.db")
    yield CaEncounters(store)
    store.close()


def test_the_newest_counts_whatever_the_order(table: CaEncounters) -> None:
    one, other = Encounter("t", "1", A, 5.0, 0.0, "alice", "curl"), Encounter("t", "1", A, 3.0, 4.0)
    table.add([one, other])
    table.add([other, one])
    assert table.of(A, B) == [Encounter("t", "1", A, 5.0, 4.0, "alice", "curl")]


def test_tenants_clients_and_cas_are_told_apart(table: CaEncounters) -> None:
    table.add([Encounter(tenant, ip, ca, 1.0) for tenant in "tu" for ip in "12" for ca in (A, B, "c" * 64)])
    assert len(table.of(A, B)) == 8
    assert len(table.of(A, A)) == 4
    table.add([])


def test_what_is_old_or_too_much_goes(table: CaEncounters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca_encounters, "MAX_ROWS", 3)
    table.add([Encounter("t", str(number), A, 1000.0 + number) for number in range(6)])
    table.prune(1000.0 + MEMORY)
    assert sorted(each.ip for each in table.of(A, A)) == ["3", "4", "5"]
    table.prune(1005.0 + MEMORY)
    assert [each.ip for each in table.of(A, A)] == ["5"]
