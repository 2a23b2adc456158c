"""How a child process is told to leave, and how long it may take."""

import asyncio
import signal


class Departure:
    """SIGTERM: finish what is open within ``drain`` seconds. SIGINT: at once. SIGHUP: others serve now; what is open may take
    ``handover`` seconds to end by itself. A later signal can only shorten the time."""

    def __init__(self, drain: float, handover: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._times = {signal.SIGTERM: drain, signal.SIGINT: 0.0, signal.SIGHUP: handover}
        self._ends = float("inf")
        self.begun = asyncio.Event()
        self.handed_over = asyncio.Event()
        """Others have taken this process's place, and its name."""
        self.quick = False
        """It was SIGINT."""
        self.replaced = False
        """The same, and nobody has asked for haste since."""
        for each in self._times:
            self._loop.add_signal_handler(each, self._told, each)

    @property
    def left(self) -> float:
        """Seconds until the end; infinite before it has begun."""
        return self._ends - self._loop.time()

    def _told(self, how: signal.Signals) -> None:
        self.replaced = how is signal.SIGHUP and (self.replaced or not self.begun.is_set())
        self.quick |= how is signal.SIGINT
        if self.replaced:
            self.handed_over.set()
        self._ends = min(self._ends, self._loop.time() + self._times[how])
        self.begun.set()
