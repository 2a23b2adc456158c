"""The heartbeat: a file that others read, and what happens when sampling fails."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.app import beat as module
from appliance.app.beat import Heartbeat, resident_bytes
from appliance.telemetry.health import HealthReader, HealthWriter, State
from appliance.telemetry.metrics import Metrics


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def state(directory: Path) -> dict[str, State]:
    processes = HealthReader(directory).read().processes
    return {name: item.state for name, item in processes["icap"].components.items()} if "icap" in processes else {}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)


async def test_it_beats_until_cancelled_and_is_not_missed_then(tmp_path: Path) -> None:
    metrics = Metrics()
    beating = asyncio.create_task(Heartbeat(tmp_path, "icap", metrics, lambda health: health.set("scanner", State.OK)).run())
    await until(lambda: state(tmp_path) == {"scanner": State.OK})
    assert metrics.child("arcus_process_resident_bytes", "icap")._value.get() > 1_000_000
    first = HealthReader(tmp_path).read().processes["icap"].heartbeat
    await until(lambda: HealthReader(tmp_path).read().processes["icap"].heartbeat > first)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    assert HealthReader(tmp_path).read().processes == {}


async def test_a_sample_that_fails_is_told_and_the_heart_beats_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    def sample(health: HealthWriter) -> None:
        nonlocal calls
        calls += 1
        raise KeyError("a fault of the program")

    beating = asyncio.create_task(Heartbeat(tmp_path, "icap", Metrics(), sample).run())
    await until(lambda: calls >= 3)
    assert state(tmp_path) == {"process": State.UNHEALTHY}
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    assert "a fault of the program" in caplog.text


def test_resident_memory_is_in_bytes() -> None:
    assert 5_000_000 < resident_bytes() < 50_000_000_000
