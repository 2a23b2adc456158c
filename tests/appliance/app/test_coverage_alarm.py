"""The alarm when too little is scanned (D3): in health, in the metrics, and in what `arcus doctor` says."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.app.coverage_alarm import CoverageWatch, alarms
from appliance.config.coverage_alarm import CoverageAlarm
from appliance.config.load import parse
from appliance.config.root import AppConfig
from appliance.doctor import coverage as doctor
from appliance.doctor.finding import Level
from appliance.domain.clock import ManualClock
from appliance.domain.coverage_window import Seen
from appliance.storage.sqlite import SqliteStore
from appliance.telemetry.health import HealthWriter
from appliance.telemetry.metrics import Metrics
from tests.e2e.running import base_config

MB = 1_000_000


def config(state: Path, alarm: dict[str, Any] | None) -> AppConfig:
    state.mkdir(exist_ok=True)
    return parse(json.dumps(base_config(state, coverage_alarm=alarm)), file="test", base=state).config


def event(scanned: int, passed: int, at: float, tenant: str = "default") -> bytes:
    sizes = {"response: scanned": scanned, "response: not_scanned scan_failed": passed}
    return json.dumps({"tenant_id": tenant, "created_at": at, "coverage": sizes}).encode()


@pytest.mark.parametrize(
    ("scanned", "unscanned", "told"),
    [(80 * MB, 20 * MB, False), (79 * MB, 21 * MB, True), (0, 9 * MB, False), (0, 11 * MB, True), (0, 0, False)],
)
def test_d3_beyond_the_share_and_not_merely_a_few_bytes(scanned: int, unscanned: int, told: bool) -> None:
    found = alarms(CoverageAlarm(above=0.2, least=10 * MB), {"acme": Seen(scanned, unscanned), "calm": Seen(MB, 0)})
    assert bool(found) is told
    assert all("acme" in each and "calm" not in each for each in found)


def test_d3_health_says_it_and_says_when_it_is_over(tmp_path: Path) -> None:
    clock, metrics, health = ManualClock(), Metrics(), HealthWriter(tmp_path, "admin")
    watch = CoverageWatch(config(tmp_path / "state", {"above": 0.5, "window": 600, "least": 1000}), clock)
    (sink,) = watch.sinks()
    sink.write([event(4000, 6000, clock.now()), b"no event", event(0, 9000, clock.now(), "stranger")])
    watch.sample(metrics, health)
    assert _state(health, tmp_path) == ("degraded", "default: 60% of 10 KB not scanned, limit 50%")
    assert 'arcus_unscanned_share{tenant="default"} 0.6' in metrics.exposition().decode()
    assert "stranger" not in metrics.exposition().decode()
    clock.advance(601)
    watch.sample(metrics, health)
    assert _state(health, tmp_path) == ("ok", "")


def _state(health: HealthWriter, directory: Path) -> tuple[str, str]:
    health.heartbeat()
    found = json.loads((directory / "health-admin.json").read_text())["components"]["coverage"]
    return found["state"], found["detail"]


def test_d3_without_the_setting_nobody_looks(tmp_path: Path) -> None:
    watch = CoverageWatch(config(tmp_path / "state", None), ManualClock())
    assert watch.sinks() == []
    assert list(doctor.examine(config(tmp_path / "state", None))) == []


def test_d3_the_doctor_asks_the_ledger(tmp_path: Path) -> None:
    state, clock = tmp_path / "state", ManualClock()
    made = config(state, {"above": 0.5, "least": 1000})
    store = SqliteStore(state / "audit.db")
    with store.writing() as connection:
        row = "INSERT INTO coverage VALUES (?, ?, 'h', '', 'response', ?, '', ?, 1)"
        hour = int(clock.now() // 3600) * 3600
        for when, bucket, size in [(hour, "scanned", 4000), (hour, "not_scanned", 6000), (hour - 7200, "not_scanned", 10**9)]:
            connection.exec_driver_sql(row, (when, "default", bucket, size))
    store.close()
    (found,) = doctor.examine(made, clock)
    assert (found.level, "60%" in found.detail) == (Level.WARN, True)
    assert "arcus coverage" in found.hint
    (calm,) = doctor.examine(config(state, {"above": 0.7, "least": 1000}), clock)
    assert calm.level is Level.OK
