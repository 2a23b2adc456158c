"""The word to the person at the terminal that everything has come up."""

import asyncio
from collections.abc import Callable

from appliance.telemetry.health import Health, State

INTERVAL = 0.25
"""Seconds between looks, until it is there."""


async def announce(look: Callable[[], Health | None], say: Callable[[str], None]) -> None:
    """Say once that it can be used: no process missing, none unhealthy. Until then connections wait, or scans fail."""
    while not arrived(await asyncio.to_thread(look)):  # noqa: ASYNC110 - other processes give no event
        await asyncio.sleep(INTERVAL)
    say("arcus: ready")


def arrived(health: Health | None) -> bool:
    """``None``: somebody has not said that he is ready."""
    return health is not None and not health.missing and health.state is not State.UNHEALTHY
