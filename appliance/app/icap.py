"""The ICAP server process: services, scanner, metrics."""

import asyncio
import socket
from collections.abc import Mapping

from appliance.app import panel
from appliance.app.beat import Heartbeat
from appliance.app.icap_sockets import TLS, process_name
from appliance.app.icap_tls import of_listener
from appliance.app.parts import departure
from appliance.app.paths import StatePaths
from appliance.app.sockets import shared_out
from appliance.config.icap_server import IcapServer as IcapServerConfig
from appliance.config.root import AppConfig
from appliance.engine.stage import Stage
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics
from icap.server.adapt import standard_services
from icap.server.exchange import Account
from icap.server.server import IcapServer
from icap.server.settings import ServerSettings


async def run(config: AppConfig, sockets: Mapping[str, socket.socket], index: int, stage: Stage) -> None:
    """Serve until SIGTERM or SIGHUP (exchanges finish) or SIGINT (at once)."""
    if config.icap_server is None:
        raise ValueError("no icap_server in the configuration")
    leave = departure(config)
    paths, metrics = StatePaths(config.state_dir), Metrics()
    scanner = panel.build(config.icap_server, paths)
    settings = _settings(config.icap_server)
    server = IcapServer(standard_services(scanner, settings, config.icap_server.preview), settings, Watch(metrics))

    def sample(health: HealthWriter) -> None:
        state = scanner.health
        level = State.UNHEALTHY if not state.up else State.DEGRADED if state.detail else State.OK
        health.set("scanner", level, state.detail or scanner.engine)

    await scanner.start()
    await stage.enter()
    name = process_name(index, config.icap_server.workers)
    beating = asyncio.create_task(Heartbeat(paths.run, name, metrics, sample).run(leave.handed_over))
    tls = config.icap_server.tls
    secure = shared_out(sockets, TLS)
    await server.start([sock for sock in sockets.values() if sock not in secure])
    if tls is not None:
        await server.start(secure, of_listener(tls))
    try:
        await leave.begun.wait()
    finally:
        await server.stop(0.0 if leave.quick else 10.0)
        await scanner.close()
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


def _settings(config: IcapServerConfig) -> ServerSettings:
    return ServerSettings(
        max_connections=config.max_connections,
        idle_timeout=config.idle_timeout,
        header_timeout=config.header_timeout,
        body_timeout=config.body_timeout,
    )


class Watch:
    """The server's events as metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def connections(self, count: int) -> None:
        self._metrics.set("arcus_icap_server_connections_active", value=count)

    def refused(self) -> None:
        self._metrics.inc("arcus_limits_total", "icap_connections")

    def finished(self, account: Account) -> None:
        self._metrics.tally("arcus_icap_server_requests_total", account.method, str(account.status)).inc()
        if account.scan is not None:
            self._metrics.tally("arcus_icap_server_scans_total", account.scan.outcome.value).inc()
            self._metrics.tally("arcus_icap_server_scan_seconds").observe(account.scan.ms / 1000)
