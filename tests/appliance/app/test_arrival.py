"""The word that everything has come up is said once, when it is true."""

import asyncio

import pytest

from appliance.app.arrival import announce, arrived
from appliance.telemetry.health import Component, Health, Process, State


def _health(state: State, *missing: str) -> Health:
    return Health({"worker-0": Process("worker-0", 1, 0.0, {"scanner": Component(state)})}, missing)


@pytest.mark.parametrize(
    ("health", "there"),
    [
        (_health(State.OK), True),
        (_health(State.DEGRADED), True),
        (_health(State.UNHEALTHY), False),
        (_health(State.OK, "admin"), False),
        (Health({}), False),
    ],
)
def test_a_missing_or_unhealthy_process_is_waited_for(health: Health, there: bool) -> None:
    assert arrived(health) is there


async def test_it_is_said_once_and_not_before() -> None:
    seen = [None, _health(State.OK, "admin"), _health(State.OK)]
    said: list[str] = []
    async with asyncio.timeout(10):
        await announce(lambda: seen.pop(0), said.append)
    assert said == ["arcus: ready"]
    assert not seen
