"""The parent process at work: start the children, tell the person, listen to commands and signals, stop."""

import asyncio
import contextlib
import os
import signal
from functools import partial
from pathlib import Path

import appliance
from appliance import local_socket
from appliance.app.arrival import announce
from appliance.app.banner import banner
from appliance.app.beat import Heartbeat
from appliance.app.clamav import keeper
from appliance.app.commands import Commands
from appliance.app.fleet import Fleet
from appliance.app.icap_sockets import process_names
from appliance.app.parts import drain_seconds, stop_on, worker_count
from appliance.app.paths import StatePaths
from appliance.app.preparation import prepared
from appliance.app.reload import Reloader
from appliance.app.speaker import Speaker
from appliance.app.standing import Standing
from appliance.config.root import AppConfig
from appliance.control import token
from appliance.control.protocol import SOCKET
from appliance.control.server import ControlServer
from appliance.domain.clock import SystemClock
from appliance.engine.child import Child
from appliance.engine.generation import OTHER_CODE
from appliance.engine.supervisor import GRACE
from appliance.hardening import PARENT
from appliance.telemetry.health import Health, HealthReader, HealthWriter, State
from appliance.telemetry.metrics import Metrics
from appliance.telemetry.multiprocess import VARIABLE, retire


class Parent:
    """Everything that runs in the parent: children and their sockets, clamd, the control socket, health.

    ``path``: the file as the person gave it; None for the embedded default. ``stamp``: the code that runs.
    """

    def __init__(self, standing: Standing, paths: StatePaths, path: Path | None, stamp: str) -> None:
        self.paths = paths
        self.path = path
        self.metrics = Metrics()
        self.beat = Heartbeat(paths.run, "parent", self.metrics, self._sample)
        environment = _environment(paths)
        self.fleet = Fleet(paths, environment, stamp, self._ended)
        patience = standing.config.reload.ready_timeout
        prepare = partial(prepared, state=paths.root, stamp=stamp, environment=environment, patience=patience)
        clock = SystemClock()
        self._say = Speaker(standing.config.log)
        self.reloader = Reloader(standing, self.fleet, prepare, self.metrics, self.beat.health, clock)
        self.commands = Commands(self.reloader, self.fleet.supervisor)

    @property
    def config(self) -> AppConfig:
        return self.reloader.standing.config

    async def run(self) -> int:
        config, paths = self.config, self.paths
        self.fleet.start(self.reloader.standing)
        new_token = token.ensure(paths.admin_token) if config.admin else None
        stop, received = stop_on((signal.SIGTERM, signal.SIGINT))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reloader.hang_up)
        control = local_socket.bind(paths.run, SOCKET)
        works = [self.beat.run(), ControlServer(control, self.commands.answer).run(), announce(self._arrived, self._say)]
        if (clamd := keeper(config, paths, self.beat.health, self._say)) is not None:
            works.append(clamd.run())
        helpers = [asyncio.create_task(work) for work in works]
        self._say(banner(config, paths, self.path, new_token, worker_count(config)))
        await stop.wait()
        await self.reloader.close()
        await self._stop_children(quick=signal.SIGINT in received)
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        (paths.run / SOCKET).unlink(missing_ok=True)
        self._say("arcus: stopped")
        return 0

    async def _stop_children(self, *, quick: bool) -> None:
        how, patience = (signal.SIGINT, 2.0) if quick else (signal.SIGTERM, drain_seconds(self.config) + GRACE)
        await self.fleet.supervisor.stop(how, patience)

    def _sample(self, health: HealthWriter) -> None:
        health.set("processes", State.OK)

    def _arrived(self) -> Health | None:
        """What there is to see of everybody, once they say that they are ready."""
        if not self.fleet.ready:
            return None
        others = [kind for kind in self.reloader.standing.kinds if kind in ("signer", "admin")] + process_names(self.config)
        workers = [f"worker-{index}" for index in range(worker_count(self.config))]
        return HealthReader(self.paths.run).read((*workers, *others))

    def _ended(self, child: Child, pid: int, unasked: bool) -> None:
        """Its counters stay in the sums, its gauges end. What it had in the spool is drained like everything else."""
        retire(self.paths.metrics, pid)
        for file in self.paths.run.glob(f"health-draining-*-{pid}.json"):
            file.unlink(missing_ok=True)
        if unasked:
            self.metrics.inc("arcus_worker_restarts_total", child.kind)
        elif child.kind not in self.fleet.supervisor.current:
            for name in (child.name, child.kind):  # where there is one of a kind, the kind is its name
                (self.paths.run / f"health-{name}.json").unlink(missing_ok=True)
        if child.process is not None and child.process.returncode == OTHER_CODE:
            with contextlib.suppress(OSError):
                self.beat.health.set("code", State.UNHEALTHY, "Arcus was replaced on disk while it runs: restart it as a whole")


def _environment(paths: StatePaths) -> dict[str, str]:
    names = ("PATH", "LANG", "HOME", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
    keep = {name: os.environ[name] for name in names if name in os.environ}
    return keep | {
        PARENT: str(os.getpid()),
        VARIABLE: str(paths.metrics),
        "PYTHONPATH": str(Path(appliance.__file__).parents[1]),
    }
