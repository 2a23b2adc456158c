"""How long one connection waits for what is found out about its server: for all of it together, not for each part."""

import asyncio
from collections.abc import Awaitable

from appliance.domain.clock import Clock


class Patience:
    """Begins now. It is the patience of one that waits: what it waits for goes on, since others may wait for the same."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._ends, self._clock = clock.monotonic() + seconds, clock

    async def wait[T](self, answer: Awaitable[T]) -> T:
        """The answer; one that is known already is given even when the time is over. Raises TimeoutError."""
        async with asyncio.timeout(max(0.0, self._ends - self._clock.monotonic())):
            return await answer
