"""Keeps a clamd of our own running when the configuration asks for one and none answers."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.config.scanners import ClamdScanner
from appliance.telemetry.health import HealthWriter, State
from icap.server.clamav import ClamdFailed, ClamdTuning, ManagedClamd
from icap.server.scanners.daemon import Daemon
from icap.server.scanners.endpoint import Endpoint

logger = logging.getLogger(__name__)

SYSTEM_SOCKET = Path("/run/clamav/clamd.ctl")
"""Where Debian's clamd listens."""
RETRY = 5.0
CHECK = 1.0
EICAR_STATE = "EICAR test signatures only: install ClamAV's databases (freshclam), then restart"
EICAR_ONLY = "  scanner        EICAR test signatures only: for real protection, install ClamAV's databases (freshclam)"


class ClamavKeeper:
    """Traffic does not wait for clamd: until it answers, scans fail, and the services' policies for failures decide."""

    def __init__(self, scanner: ClamdScanner, paths: StatePaths, health: HealthWriter, say: Callable[[str], None]) -> None:
        self._clamd = ManagedClamd(paths.clamd, ClamdTuning(max_size=scanner.max_size, threads=scanner.concurrency))
        self._health = health
        self._say = say
        self._told = ""

    @property
    def socket(self) -> Path:
        return self._clamd.socket

    @property
    def eicar_only(self) -> bool:
        return self._clamd.signatures == "eicar-only"

    async def run(self) -> None:
        """Start clamd, and again when it dies, until cancelled; then end it."""
        try:
            while True:
                await self._once()
                await asyncio.sleep(RETRY)
        finally:
            await asyncio.to_thread(self._clamd.stop, 2.0)

    async def _once(self) -> None:
        self._set(State.DEGRADED, "clamd is loading its signatures; scans fail until it is ready")
        try:
            await asyncio.to_thread(
                self._clamd.start, 180.0, lambda text, seconds: logger.info("clamd: %s, %.0f s", text, seconds)
            )
        except ClamdFailed as error:
            self._failed(str(error))
            return
        self._told = ""
        if self.eicar_only:
            self._say(EICAR_ONLY)
        self._set(State.DEGRADED if self.eicar_only else State.OK, EICAR_STATE if self.eicar_only else "")
        while self._clamd.alive:  # noqa: ASYNC110 - a process gives no event
            await asyncio.sleep(CHECK)
        logger.error("clamd ended; it is started again")

    def _failed(self, cause: str) -> None:
        """Say it once: it is tried again every few seconds."""
        if cause != self._told:
            hint = "; on Debian: apt-get install clamav-daemon" if "not installed" in cause else ""
            logger.error("clamd: %s%s; until it runs, scans fail and icap_on_error decides", cause, hint)
        self._told = cause
        self._set(State.UNHEALTHY, cause)

    def _set(self, state: State, detail: str) -> None:
        with contextlib.suppress(OSError):
            self._health.set("clamd", state, detail)


def with_running_clamd(config: AppConfig, system: Path = SYSTEM_SOCKET) -> AppConfig:
    """``managed`` asks for a clamd of our own only where none answers: at the socket that is configured, or the system's.

    The same configuration, with the scanner pointed at the clamd that runs, or at ours.
    """
    icap = config.icap_server
    clamd = icap.clamd if icap is not None else None
    if icap is None or clamd is None or not clamd.managed or clamd.tcp:
        return config
    socket = clamd.socket or system
    answers = socket.exists() and Daemon(Endpoint.unix(socket)).ping()
    chosen = {"socket": socket, "managed": False} if answers else {"socket": None}
    return config.model_copy(update={"icap_server": icap.with_clamd(clamd.model_copy(update=chosen))})


def keeper(config: AppConfig, paths: StatePaths, health: HealthWriter, say: Callable[[str], None]) -> ClamavKeeper | None:
    """The keeper that the configuration asks for, if it does. ``say``: to the person who started us."""
    scanner = config.icap_server.clamd if config.icap_server else None
    return ClamavKeeper(scanner, paths, health, say) if scanner is not None and scanner.managed else None
