"""The service's OPTIONS, fetched once for everybody and renewed before they expire."""

import asyncio
from collections.abc import Awaitable, Callable

from appliance.domain.clock import Clock
from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.protocol import ServiceOptions

MIN_TTL = 10.0
MAX_TTL = 24 * 3600.0
RENEW_BEFORE = 20.0
"""Seconds before expiry, or a quarter of a shorter time to live."""
RENEW_PAUSE = 5.0
"""Seconds between two attempts to renew while the old options still hold."""

type Fetch = Callable[[], Awaitable[ServiceOptions]]


class Features:
    """Single flight: a hundred messages at a cold start make one OPTIONS request."""

    def __init__(self, fetch: Fetch, clock: Clock, default_ttl: int) -> None:
        """``fetch`` raises ScanError. Times are the local clock's: a service's Date may be anything."""
        self._fetch = fetch
        self._clock = clock
        self._default_ttl = default_ttl
        self._options: ServiceOptions | None = None
        self._expires = 0.0
        self._renew_at = 0.0
        self._tried = 0.0
        self._task: asyncio.Task[ServiceOptions] | None = None

    def current(self) -> ServiceOptions | None:
        """Options that still hold; starts to renew them in the background when they will not for long."""
        now = self._clock.monotonic()
        if self._options is None or now >= self._expires:
            return None
        if now >= self._renew_at:
            self._start()
            self._renew_at = self._tried + RENEW_PAUSE
        return self._options

    async def get(self) -> ServiceOptions:
        """Options that hold, fetched if need be. Cancelling one caller does not cancel the fetch for the others.

        Raises:
            ScanError: they could not be had.
        """
        options = self.current()
        if options is not None:
            return options
        task = self._start()
        await asyncio.wait([task])
        if task.cancelled():  # by ``close``; who waits was not cancelled, and has to hear that there is no answer
            raise ScanError(Reason.ICAP_UNREACHABLE, "the client was closed")
        return task.result()

    def renew(self) -> None:
        """Fetch in the background soon, whatever the age: the service's state has changed (ISTag). Some services change
        it with every answer, hence the pause."""
        self._renew_at = min(self._renew_at, self._tried + RENEW_PAUSE)

    def forget(self) -> None:
        """The options hold no longer; a fetch under way goes on."""
        self._options = None

    def _start(self) -> asyncio.Task[ServiceOptions]:
        if self._task is None:
            self._tried = self._clock.monotonic()
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._done)
        return self._task

    async def _run(self) -> ServiceOptions:
        options = await self._fetch()
        now = self._clock.monotonic()
        ttl = min(max(float(self._default_ttl if options.ttl is None else options.ttl), MIN_TTL), MAX_TTL)
        self._options = options
        self._expires = now + ttl
        self._renew_at = self._expires - min(RENEW_BEFORE, ttl / 4)
        return options

    def _done(self, task: asyncio.Task[ServiceOptions]) -> None:
        self._task = None
        # A fault of our own in the background: without options the next message meets it, where it is seen.
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, ScanError):
            self._options = None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
