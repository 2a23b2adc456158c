"""The heartbeat of a child process: its health file, and the gauges that are sampled."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.loop import watch_loop
from appliance.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

INTERVAL = 2.0


class Heartbeat:
    """``sample`` is called every two seconds before the file is written; what it raises makes the process unhealthy."""

    def __init__(self, directory: Path, process: str, metrics: Metrics, sample: Callable[[HealthWriter], None]) -> None:
        self.health = HealthWriter(directory, process)
        self._process = process
        self._metrics = metrics
        self._sample = sample

    async def run(self, leaving: asyncio.Event | None = None) -> None:
        """Beat until cancelled, then remove the file: the process is not missed. When ``leaving`` is set, the process's name is
        left to the one that takes its place."""
        watching = asyncio.create_task(watch_loop(self._metrics))
        try:
            while True:
                self._beat()
                await self._pause(leaving)
        finally:
            watching.cancel()
            self._metrics.flush()
            self.health.remove()

    async def _pause(self, leaving: asyncio.Event | None) -> None:
        if leaving is None or leaving.is_set():
            await asyncio.sleep(INTERVAL)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(leaving.wait(), INTERVAL)
            self.health.step_aside()

    def _beat(self) -> None:
        try:
            self._metrics.flush()
            self._sample(self.health)
            self._metrics.set("arcus_process_resident_bytes", self._process, value=resident_bytes())
            self.health.heartbeat()
        except OSError as error:
            logger.error("heartbeat: %s", error)
        except Exception as error:
            logger.exception("heartbeat")
            self.health.set("process", State.UNHEALTHY, type(error).__name__)


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
