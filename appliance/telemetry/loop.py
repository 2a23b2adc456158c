"""How late the event loop is: the first sign of a worker that has more work than time."""

import asyncio

from appliance.telemetry.metrics import Metrics


async def watch_loop(metrics: Metrics, interval: float = 1.0, samples: int = 10) -> None:
    """Runs until cancelled. Every ``interval`` seconds the gauge gets the worst of ``samples`` sleeps."""
    loop = asyncio.get_running_loop()
    gauge = metrics.child("arcus_event_loop_lag_seconds")
    pause = interval / samples
    while True:
        worst = 0.0
        for _ in range(samples):
            before = loop.time()
            await asyncio.sleep(pause)
            worst = max(worst, loop.time() - before - pause)
        gauge.set(worst)
