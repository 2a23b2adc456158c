"""What is told of the CAs: gauges, health, and warnings of `arcus check`; C21."""

from pathlib import Path

import pytest

from appliance.app import ca_watch
from appliance.config.load import load
from appliance.config.root import AppConfig
from appliance.domain.clock import ManualClock, SystemClock
from appliance.telemetry.health import HealthWriter, State
from certs.authority import load_or_create
from certs.generations import Generation, Generations
from tests.appliance.config.base import BASE

DAY = 86_400


class Told:
    """Gauges that were set."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = {}

    def set(self, name: str, *labels: str, value: float) -> None:
        self.values[name, *labels] = value


@pytest.fixture
def config(tmp_path: Path) -> AppConfig:
    (tmp_path / "arcus.yaml").write_text(BASE)
    loaded = load(tmp_path / "arcus.yaml").config
    load_or_create(loaded.state_dir / "ca", "main", "Test CA", validity_days=100)
    return loaded


@pytest.mark.parametrize(
    ("days", "state", "warned"), [(30, State.OK, 0), (50, State.OK, 1), (80, State.DEGRADED, 1), (101, State.UNHEALTHY, 1)]
)
def test_the_end_comes_nearer(config: AppConfig, tmp_path: Path, days: int, state: State, warned: int) -> None:
    clock, told, health = ManualClock(SystemClock().now() + days * DAY), Told(), HealthWriter(tmp_path, "admin")
    ca_watch.sample(config, clock, told, health)
    end = told.values["arcus_ca_expiry_timestamp_seconds", "main", "current"]
    assert abs(end - clock.now() - (100 - days) * DAY) < 60
    assert health._components["ca main"].state is state
    problems = ca_watch.warnings(config, clock)
    assert len(problems) == warned
    assert not problems or "arcus ca rotate" in problems[0].message


def test_generations_are_told_apart_and_what_cannot_be_read_is_left_out(config: AppConfig, tmp_path: Path) -> None:
    place = Generations(config.state_dir / "ca", "main")
    load_or_create(config.state_dir / "ca", place.home(Generation.NEXT).name, "Next CA")
    place.install(Generation.PREVIOUS, b"nonsense", b"nonsense")
    told = Told()
    ca_watch.sample(config, SystemClock(), told, HealthWriter(tmp_path, "admin"))
    assert {labels[2] for labels in told.values} == {"current", "next"}
