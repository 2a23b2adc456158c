"""Checks a service now and then, for one worker.

Each worker asks for itself: what counts is whether its own connections lead to a scanner that scans, there is no leader whose
death would leave the others with an old answer, and two small messages in half a minute are nothing to a scanner.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.client.probe import Health
from icap.client.standing import Standing, State

logger = logging.getLogger(__name__)

JITTER: Final = 0.1
"""Share of the interval by which it is longer or shorter, so that workers and nodes do not ask at once."""
SECOND_LOOK: Final = 0.5
"""Seconds after which a service that was up is asked again before it counts as down, when it could not be asked at all."""

FIRST_LOOK: Final = 0.5
"""Seconds after which a service that is down is checked again for the first time; then twice as many each time."""

type Check = Callable[[], Awaitable[Health]]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds. ``revival``: how long a suspended service is left alone, and the longest pause between two checks of one that
    is down."""

    interval: float = 30.0
    timeout: float = 10.0
    revival: float = 10.0


class Prober:
    """One check at a time. ``random`` gives numbers from 0 to 1."""

    def __init__(self, check: Check, standing: Standing, rhythm: Rhythm, random: Callable[[], float]) -> None:
        self._check = check
        self._standing = standing
        self._rhythm = rhythm
        self._random = random
        self._task: asyncio.Task[None] | None = None
        self._tries = 0

    def start(self) -> None:
        """Begin to check, unless that has begun."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await self._once()
            await self._pause()

    async def _once(self) -> None:
        health = await self._ask()
        if health.transient and self._standing.state is State.UP:
            await asyncio.sleep(SECOND_LOOK)
            health = await self._ask()
        self._standing.judged(health)

    async def _ask(self) -> Health:
        try:
            async with asyncio.timeout(self._rhythm.timeout):
                return await self._check()
        except TimeoutError:
            seconds = f"{self._rhythm.timeout:g} s"
            return Health(False, f"no answer to the test messages within {seconds}", reason=Reason.ICAP_TIMEOUT)
        except ScanError as error:
            return Health(False, str(error), reason=error.reason)
        except Exception as error:  # a fault of ours: who is not checked any more must not stay up
            logger.exception("the check of an ICAP service failed")
            return Health(False, f"the check failed: {type(error).__name__}", reason=Reason.INTERNAL_ERROR)

    async def _pause(self) -> None:
        if self._standing.state is State.UP:
            self._tries = 0
            await self._standing.suspension(self._rhythm.interval * self._spread())
        if self._standing.state is not State.UP:
            await asyncio.sleep(self._until_next_try() * self._spread())

    def _until_next_try(self) -> float:
        """A suspended service is left alone. One that is down, or not up yet, is asked soon, then less and less often."""
        if self._standing.state is State.SUSPENDED:
            return self._rhythm.revival
        self._tries += 1
        return min(self._rhythm.revival, FIRST_LOOK * 2.0 ** min(self._tries - 1, 16))

    def _spread(self) -> float:
        return 1.0 + JITTER * (2.0 * self._random() - 1.0)
