import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.telemetry.health import STALE_AFTER, HealthReader, HealthWriter, State


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_states_of_all_processes_become_one(tmp_path: Path, clock: ManualClock) -> None:
    worker, icap = HealthWriter(tmp_path, "worker-0", clock), HealthWriter(tmp_path, "icap", clock)
    reader = HealthReader(tmp_path, clock)
    worker.set("audit", State.OK)
    icap.set("clamd", State.OK, ms=2.5)
    assert reader.read().state is State.OK
    icap.set("clamd", State.DEGRADED, "slow")
    assert reader.read().state is State.DEGRADED
    worker.set("audit", State.UNHEALTHY, "spool full")
    health = reader.read()
    assert health.state is State.UNHEALTHY
    assert health.processes["icap"].components["clamd"].detail == "slow"
    assert health.processes["worker-0"].state is State.UNHEALTHY
    assert json.loads(json.dumps(health.as_dict()))["processes"]["icap"]["components"]["clamd"]["state"] == "degraded"
    worker.set("audit", State.OK)
    icap.set("clamd", State.OK)
    assert reader.read().state is State.OK


def test_since_is_the_moment_of_the_change(tmp_path: Path, clock: ManualClock) -> None:
    writer, reader = HealthWriter(tmp_path, "worker-0", clock), HealthReader(tmp_path, clock)
    writer.set("audit", State.OK)
    changed = clock.time
    clock.advance(5)
    writer.set("audit", State.OK, "still")
    writer.heartbeat()
    component = reader.read().processes["worker-0"].components["audit"]
    assert (component.since, component.detail) == (changed, "still")


def test_a_process_that_does_not_write_any_more_is_unhealthy(tmp_path: Path, clock: ManualClock) -> None:
    writer, reader = HealthWriter(tmp_path, "worker-0", clock), HealthReader(tmp_path, clock)
    writer.heartbeat()
    clock.advance(STALE_AFTER)
    assert reader.read().state is State.OK
    clock.advance(0.01)
    health = reader.read()
    assert health.state is State.UNHEALTHY
    assert health.processes["worker-0"].stale
    writer.heartbeat()
    assert reader.read().state is State.OK


def test_a_heartbeat_from_the_future_is_no_heartbeat(tmp_path: Path, clock: ManualClock) -> None:
    writer, reader = HealthWriter(tmp_path, "worker-0", clock), HealthReader(tmp_path, clock)
    writer.heartbeat()
    clock.advance(-3600)
    assert reader.read().state is State.UNHEALTHY


def test_nothing_at_all_and_missing_processes_are_unhealthy(tmp_path: Path, clock: ManualClock) -> None:
    reader = HealthReader(tmp_path / "nowhere", clock)
    assert reader.read().state is State.UNHEALTHY
    writer = HealthWriter(tmp_path, "worker-0", clock)
    writer.heartbeat()
    health = HealthReader(tmp_path, clock).read(("worker-0", "worker-1"))
    assert (health.state, health.missing) == (State.UNHEALTHY, ("worker-1",))
    writer.remove()
    writer.remove()
    assert HealthReader(tmp_path, clock).read().processes == {}


def test_a_reader_never_sees_half_a_file(tmp_path: Path, clock: ManualClock) -> None:
    writer = HealthWriter(tmp_path, "worker-0", clock)
    writer.heartbeat()
    first = (tmp_path / "health-worker-0.json").stat().st_ino
    writer.heartbeat()
    assert (tmp_path / "health-worker-0.json").stat().st_ino != first, "replaced, not rewritten"
    assert [path.name for path in tmp_path.iterdir()] == ["health-worker-0.json"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.one_of(st.none(), st.integers(), st.text(max_size=5)),
            lambda inner: st.dictionaries(st.sampled_from(["pid", "heartbeat", "components", "state"]), inner),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_a_damaged_file_is_unhealthy(tmp_path: Path, content: bytes) -> None:
    clock = ManualClock()
    (tmp_path / "health-worker-0.json").write_bytes(content)
    assert HealthReader(tmp_path, clock).read().state is State.UNHEALTHY


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "-a", "a\n", "x" * 65])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        HealthWriter(tmp_path, name)


def test_details_are_printable(tmp_path: Path, clock: ManualClock) -> None:
    writer = HealthWriter(tmp_path, "worker-0", clock)
    writer.set("clamd", State.DEGRADED, "\x1b[2J" + "x" * 1000)
    detail = HealthReader(tmp_path, clock).read().processes["worker-0"].components["clamd"].detail
    assert detail.isprintable()
    assert len(detail) == 512
