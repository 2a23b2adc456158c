"""One clamd of those that scan: what is known of it, and how many scans it has."""

import asyncio
import logging
from collections.abc import Callable

from appliance.domain.clock import Clock
from icap.server.scanners.clamd_settings import ClamdSettings
from icap.server.scanners.daemon import Daemon, DaemonError
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.scanner import ScannerHealth
from icap.server.scanners.sessions import Sessions
from icap.server.scanners.slots import Slots
from icap.server.scanners.stream_limit import stream_limit

logger = logging.getLogger(__name__)


class ClamdNode:
    def __init__(self, endpoint: Endpoint, settings: ClamdSettings, clock: Clock) -> None:
        self.endpoint = endpoint
        self._slots = Slots(settings.concurrency)
        self._limit_known = False
        self.sessions = Sessions(endpoint, clock)
        self.busy = 0
        """Scans that have it, or wait for it."""
        self.version = ""
        self.limit = settings.max_size
        """The longest stream it takes, as far as that matters here. Bytes."""
        self.health = ScannerHealth(up=False, detail="not asked yet")
        self._settings = settings
        self._clock = clock
        self._daemon = Daemon(endpoint)
        self._last_verdict = float("-inf")
        self._suspect_until = float("-inf")

    @property
    def engine(self) -> str:
        product, _, rest = self.version.partition("/")
        database = rest.partition("/")[0] or self._settings.database
        return f"{product}/{database}" if product and database else product

    @property
    def suspect(self) -> bool:
        """Others are asked first: it is down, or has failed a moment ago."""
        return not self.health.up or self._clock.monotonic() < self._suspect_until

    @property
    def full(self) -> bool:
        """``take`` would have to wait."""
        return self._slots.full

    async def take(self) -> None:
        """Wait for a slot; ``release`` it."""
        self.busy += 1
        try:
            await self._slots.take()
        except BaseException:
            self.busy -= 1
            raise

    def take_now(self) -> bool:
        """Take a slot when that needs no waiting; ``release`` it."""
        taken = self._slots.take_now()
        self.busy += taken
        return taken

    def wait(self, ready: Callable[[], None]) -> None:
        """``ready`` is called with a slot taken. Only when ``full``."""
        self.busy += 1
        self._slots.wait(ready)

    def withdraw(self, ready: Callable[[], None]) -> bool:
        """Whether it waited still, and does not any more."""
        waited = self._slots.withdraw(ready)
        self.busy -= waited
        return waited

    def release(self) -> None:
        self.busy -= 1
        self._slots.release()

    async def refresh(self) -> None:
        """Ask for the version now. No answer keeps the old one, and a clamd that has just given a verdict is not down:
        with all threads busy it accepts nobody."""
        try:
            self.version = await asyncio.to_thread(self._daemon.version)
        except DaemonError as error:
            lively = self._clock.monotonic() - self._last_verdict < 2 * self._settings.refresh
            self._note(ScannerHealth(up=lively and not error.gone, engine=self.engine, detail=str(error)))
        else:
            self._note(ScannerHealth(up=True, engine=self.engine))

    async def reload(self) -> None:
        """Raises DaemonError."""
        await asyncio.to_thread(self._daemon.reload)
        await self.refresh()

    async def answered(self) -> None:
        """A scan is the best sign of life; the first after a time without is told by which engine."""
        self.verdict()
        if not self.health.up:
            await self.refresh()

    def verdict(self) -> None:
        """It gave one now."""
        self._last_verdict = self._clock.monotonic()
        self._suspect_until = float("-inf")

    def failed(self) -> None:
        """It did not answer, or not in time."""
        self._suspect_until = self._clock.monotonic() + self._settings.suspicion

    def unreachable(self, detail: str) -> None:
        self.failed()
        self._note(ScannerHealth(up=False, engine=self.engine, detail=detail))

    async def learn_limit(self) -> None:
        """Once after each time that it was away: it may have come back with another configuration."""
        if self._limit_known or not self.health.up:
            return
        wanted = self._settings.max_size
        try:
            self.limit = await stream_limit(self.endpoint, wanted)
        except OSError as error:
            logger.info("the limit of clamd at %s is not known: %s", self.endpoint, error)
            return
        self._limit_known = True
        if self.limit < wanted:
            told = (
                "clamd at %s takes streams of about %d bytes (StreamMaxLength), less than max_size %d: larger bodies are errors"
            )
            logger.warning(told, self.endpoint, self.limit, wanted)

    def _note(self, health: ScannerHealth) -> None:
        if health.up != self.health.up:
            level = logging.INFO if health.up else logging.WARNING
            state = f"up, {health.engine}" if health.up else f"down, {health.detail}"
            logger.log(level, "clamd at %s: %s", self.endpoint, state)
            self._limit_known = self._limit_known and health.up
        self.health = health
