"""`arcus icap serve`: our ICAP server alone, for other proxies. The appliance's supervisor, with one kind of child."""

import asyncio
import os
import signal
from pathlib import Path

import appliance
from appliance.app.arrival import announce
from appliance.app.beat import Heartbeat
from appliance.app.clamav import keeper, with_running_clamd
from appliance.app.icap_sockets import process_names
from appliance.app.parts import stop_on
from appliance.app.paths import StatePaths
from appliance.app.sockets import Sockets
from appliance.app.speaker import Speaker
from appliance.config.icap_server import IcapServer
from appliance.config.root import AppConfig
from appliance.engine.child import Child
from appliance.engine.supervisor import GRACE, Supervisor
from appliance.hardening import PARENT
from appliance.telemetry.health import Health, HealthReader, HealthWriter, State
from appliance.telemetry.metrics import Metrics
from appliance.telemetry.multiprocess import VARIABLE, retire

DRAIN = 10.0


class IcapParent:
    """Keeps the workers and, where the configuration asks for it, a clamd running until SIGTERM or SIGINT."""

    def __init__(self, config: AppConfig, paths: StatePaths) -> None:
        self.config = with_running_clamd(config)
        self.paths = paths
        self._say = Speaker(config.log)
        self.metrics = Metrics()
        self.beat = Heartbeat(paths.run, "parent", self.metrics, self._sample)

    async def run(self) -> int:
        children = _children(self.config)
        stop, received = stop_on((signal.SIGTERM, signal.SIGINT))
        supervisor = Supervisor(self._environment(), self._ended)
        generation = supervisor.current["icap"] = supervisor.generation(1, children)
        generation.start()
        generation.begin()
        clamd = keeper(self.config, self.paths, self.beat.health, self._say)
        helpers = [asyncio.create_task(self.beat.run())]
        if clamd is not None:
            helpers.append(asyncio.create_task(clamd.run()))
        self._say("\n".join(_addresses(self.config.icap_server)))
        helpers.append(asyncio.create_task(announce(self._health, self._say)))
        await stop.wait()
        quick = signal.SIGINT in received
        await supervisor.stop(signal.SIGINT if quick else signal.SIGTERM, 2.0 if quick else DRAIN + GRACE)
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        if self.config.icap_server is not None and self.config.icap_server.unix is not None:
            self.config.icap_server.unix.path.unlink(missing_ok=True)
        self._say("arcus: stopped")
        return 0

    def _sample(self, health: HealthWriter) -> None:
        health.set("processes", State.OK)

    def _health(self) -> Health:
        return HealthReader(self.paths.run).read(tuple(process_names(self.config)))

    def _ended(self, child: Child, pid: int, unasked: bool) -> None:
        retire(self.paths.metrics, pid)
        if unasked:
            self.metrics.inc("arcus_worker_restarts_total", child.kind)

    def _environment(self) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "HOME", "TZ") if name in os.environ}
        return keep | {
            PARENT: str(os.getpid()),
            VARIABLE: str(self.paths.metrics),
            "PYTHONPATH": str(Path(appliance.__file__).parents[1]),
        }


def _children(config: AppConfig) -> list[Child]:
    """Raises ConfigError when an address cannot be had."""
    count = len(process_names(config))
    bound = Sockets().bind(config, 0)
    bound.listen()
    return [Child("icap", index, config, bound.of("icap", index, count)) for index in range(count)]


def _addresses(server: IcapServer | None) -> list[str]:
    if server is None:
        return []
    lines = [f"arcus: ICAP server, {server.workers} workers; Ctrl-C ends it"]
    if server.listen is not None:
        lines.append(f"arcus: ICAP at icap://{server.listen.address}/reqmod and /respmod")
    if server.tls is not None:
        lines.append(f"arcus: ICAP over TLS at icaps://{server.tls.listen.address}/reqmod and /respmod")
    if server.unix is not None:
        lines.append(f"arcus: ICAP at icap+unix://{server.unix.path}:/reqmod and :/respmod")
    return lines
