"""The parent process at work: bind, start the children, tell the person, wait, stop."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import appliance
from appliance.app.arrival import announce
from appliance.app.banner import banner
from appliance.app.beat import Heartbeat
from appliance.app.clamav import keeper, with_running_clamd
from appliance.app.icap_sockets import icap_children, process_names
from appliance.app.keys import needs_signer, signer_socket
from appliance.app.parts import drain_seconds, stop_on, worker_count
from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.config.server import Server, TcpTproxy
from appliance.config.values import Listen
from appliance.control import token
from appliance.domain.clock import SystemClock
from appliance.domain.errors import ConfigError, Problem
from appliance.engine.listener import bind
from appliance.engine.supervisor import Child, Supervisor
from appliance.telemetry.health import Health, HealthReader, HealthWriter, State
from appliance.telemetry.metrics import Metrics
from appliance.telemetry.multiprocess import VARIABLE, retire
from certs.ticket_keys import SeedHolder


class Parent:
    """Everything that runs in the parent: sockets, children, clamd, health."""

    def __init__(self, config: AppConfig, paths: StatePaths, path: Path | None) -> None:
        self.config = config = with_running_clamd(config)
        self.paths = paths
        self.path = path
        self.workers = worker_count(config)
        self.metrics = Metrics()
        self.metrics.set("arcus_config_loaded_timestamp_seconds", value=SystemClock().now())
        self.beat = Heartbeat(paths.run, "parent", self.metrics, self._sample)

    async def run(self) -> int:
        config, paths = self.config, self.paths
        children = self._children()
        new_token = token.ensure(paths.admin_token) if config.admin else None
        stop, received = stop_on((signal.SIGTERM, signal.SIGINT))
        supervisor = Supervisor(children, self._environment(), self._died)
        clamd = keeper(config, paths, self.beat.health)
        helpers = [asyncio.create_task(self.beat.run())]
        if clamd is not None:
            helpers.append(asyncio.create_task(clamd.run()))
        print(banner(config, paths, self.path, new_token, self.workers), flush=True)
        helpers.append(asyncio.create_task(announce(self._health, _say)))
        await supervisor.run(stop, lambda: signal.SIGINT in received, drain_seconds(config))
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        _say("arcus: stopped")
        return 0

    def _sample(self, health: HealthWriter) -> None:
        health.set("processes", State.OK)

    def _health(self) -> Health:
        others = (*process_names(self.config), *(("admin",) if self.config.admin is not None else ()))
        return HealthReader(self.paths.run).read((*(f"worker-{index}" for index in range(self.workers)), *others))

    def _died(self, child: Child, pid: int) -> None:
        """Its counters stay in the sums, its gauges end. What it had in the spool is drained like everything else."""
        retire(self.paths.metrics, pid)
        self.metrics.inc("arcus_worker_restarts_total", child.kind)

    def _environment(self) -> dict[str, str]:
        names = ("PATH", "LANG", "HOME", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
        keep = {name: os.environ[name] for name in names if name in os.environ}
        return keep | {VARIABLE: str(self.paths.metrics), "PYTHONPATH": str(Path(appliance.__file__).parents[1])}

    # -- children and their sockets --

    def _children(self) -> list[Child]:
        config = self.config
        problems: list[Problem] = []
        first = self._first_sockets(problems)
        per_worker = [first]
        if not problems:
            per_worker += [self._more_sockets(first) for _ in range(1, self.workers)]
        children = [Child("signer", 0, config, {"signer": signer_socket(self.paths)})] if needs_signer(config) else []
        seed = SeedHolder(SystemClock())  # session tickets of one worker are good in the others, and in those to come
        children += [Child("worker", index, config, sockets, seed) for index, sockets in enumerate(per_worker)]
        children += icap_children(config, problems)
        if config.admin is not None:
            children.append(Child("admin", 0, config, _one("admin", "admin", config.admin.listen, problems)))
        if config.demo_origin is not None:
            sockets = _one("https", "demo_origin.https", config.demo_origin.https, problems)
            sockets |= _one("http", "demo_origin.http", config.demo_origin.http, problems)
            children.append(Child("demo", 0, config, sockets))
        if problems:
            raise ConfigError(problems)
        return children

    def _first_sockets(self, problems: list[Problem]) -> dict[str, socket.socket]:
        sockets = {}
        for server in self.config.server:
            try:
                _probe(server.listen)
                sockets[server.name] = _bind(server, server.listen.address.port)
            except OSError as error:
                problems.append(Problem(_bind_hint(error), f"server.{server.name}.listen"))
        return sockets

    def _more_sockets(self, first: dict[str, socket.socket]) -> dict[str, socket.socket]:
        by_name = {server.name: server for server in self.config.server}
        return {name: _bind(by_name[name], sock.getsockname()[1]) for name, sock in first.items()}


def _say(text: str) -> None:
    print(text, flush=True)


def _bind(server: Server, port: int) -> socket.socket:
    transparent = isinstance(server, TcpTproxy) and server.mode == "tproxy"
    address = server.listen.address
    return bind(address.host, port, server.listen.backlog, reuse_port=True, transparent=transparent)


def _probe(listen: Listen) -> None:
    """SO_REUSEPORT would let a second appliance of the same user share our ports without a word."""
    bind(listen.address.host, listen.address.port, 1, reuse_port=False).close()


def _one(name: str, path: str, listen: Listen, problems: list[Problem]) -> dict[str, socket.socket]:
    try:
        return {name: bind(listen.address.host, listen.address.port, listen.backlog, reuse_port=False)}
    except OSError as error:
        problems.append(Problem(_bind_hint(error), f"{path}.listen"))
        return {}


def _bind_hint(error: OSError) -> str:
    return f"{error.args[1]} (stop what uses it, or choose another port)"
