"""How a service stands: whether a message may be sent to it now, and why not."""

import asyncio
from enum import Enum
from typing import Final

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.client.breaker import Breaker
from icap.client.probe import Health
from icap.client.stats import ServiceStats, Tell

_NO_FAULT: Final = frozenset({Reason.BODY_TOO_LARGE, Reason.ICAP_OVERLOAD})
"""Not the service's: an upload of large files, or a burst, must not suspend it for everybody."""


class NotAdmitted(ScanError):
    """Nothing was sent, because of what is known already."""


class State(Enum):
    UP = "up"
    UNKNOWN = "unknown"
    """It is to be checked, and the first check has not ended: messages wait for that."""
    DOWN = "down"
    """The last check says that it does not scan, or cannot be asked."""
    SUSPENDED = "suspended"
    """Too many failures. After a delay it is checked; or, where nothing is checked, one message tries it."""


class Standing:
    """Failures of messages and the results of checks, made into one answer. Use within one event loop."""

    def __init__(self, breaker: Breaker, stats: ServiceStats, tell: Tell, *, checked: bool) -> None:
        """``checked``: somebody checks the service, and nothing is sent to it before it has passed."""
        self._breaker = breaker
        self._stats = stats
        self._tell = tell
        self._checked = checked
        self._health: Health | None = None
        self._asked = asyncio.Event()
        """A check has ended."""
        self._suspended = asyncio.Event()
        self._last_failure: ScanError | None = None

    @property
    def state(self) -> State:
        if self._breaker.suspended or (self._checked and self._breaker.on_trial):
            return State.SUSPENDED
        if not self._checked:
            return State.UP
        if self._health is None:
            return State.UNKNOWN
        return State.UP if self._health.ok else State.DOWN

    @property
    def available(self) -> bool:
        """Whether it is worth asking before others: nothing is known against it."""
        return self.state in (State.UP, State.UNKNOWN)

    @property
    def on_trial(self) -> bool:
        """The suspension is over, and the service's options decide whether it is up."""
        return self._breaker.on_trial

    @property
    def detail(self) -> str:
        """Why it is not up, for a person."""
        match self.state:
            case State.DOWN | State.SUSPENDED if self._health is not None and not self._health.ok:
                return self._health.detail
            case State.SUSPENDED:
                return f"suspended after failures, the last: {self._last_failure}"
            case State.UNKNOWN:
                return "not checked yet"
        return ""

    async def admit(self) -> None:
        """Whether a message may go to the service; waits for the first check.

        Raises:
            NotAdmitted: it may not.
        """
        if self.state is State.UNKNOWN:
            await self._asked.wait()
        match self.state:
            case State.DOWN | State.SUSPENDED if self._health is not None and not self._health.ok:
                raise NotAdmitted(self._health.reason, f"the service is down: {self._health.detail}")
            case State.SUSPENDED:
                raise NotAdmitted(Reason.ICAP_UNREACHABLE, "the service is suspended after failures")
            case State.UNKNOWN:
                raise NotAdmitted(Reason.ICAP_UNREACHABLE, "the service could not be checked yet")

    def failed(self, error: ScanError) -> None:
        """A message came to nothing."""
        self._stats.errors[error.reason.word] += 1
        if error.reason in _NO_FAULT or isinstance(error, NotAdmitted):
            return
        if error is self._last_failure:
            return  # one failed fetch of OPTIONS fails every message that waited for it, and is still one failure
        self._last_failure = error
        if not self._breaker.suspended and self._breaker.fail():
            self._stats.suspensions += 1
            self._suspended.set()
            self._tell("suspended", str(error))

    def recovered(self) -> None:
        """It answers as it should: failures are forgotten."""
        if self._breaker.recover():
            self._tell("up")

    def judged(self, health: Health) -> None:
        """A check has ended. What it says holds until the next; that the service has too much to do says nothing."""
        self._stats.probes["ok" if health.ok else health.reason.word] += 1
        if health.reason is Reason.ICAP_OVERLOAD:
            return
        before, self._health = self._health, health
        if health.ok:
            self.recovered()
        if before is None or before.ok != health.ok:
            self._tell("healthy" if health.ok else "down", health.detail)
        self._asked.set()

    async def suspension(self, seconds: float) -> None:
        """Wait for a suspension to begin, at most so long."""
        self._suspended.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._suspended.wait()
        except TimeoutError:
            return
