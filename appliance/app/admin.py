"""The admin process: pages and REST, the audit drain, and the retention of the store."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import uvicorn

from appliance.app import backlog, ca_watch, rotation
from appliance.app.beat import Heartbeat
from appliance.app.coverage_alarm import CoverageWatch
from appliance.app.departure import Departure
from appliance.app.icap_sockets import process_names
from appliance.app.keys import needs_signer
from appliance.app.learning import Learning
from appliance.app.parts import departure, worker_count
from appliance.app.paths import StatePaths
from appliance.app.portal import households
from appliance.app.quarantine import QuarantineRetention, desk
from appliance.app.readiness import ReadinessKeeper
from appliance.app.retro import Retro
from appliance.audit.drain import Drain
from appliance.audit.feed import FeedStats
from appliance.audit.query.search import AuditSearch
from appliance.audit.sinks.base import Sink
from appliance.audit.sinks.lines import JsonLinesSink
from appliance.audit.sinks.store import StoreSink
from appliance.config.root import AppConfig
from appliance.config.tenant import Tenant
from appliance.config.values import Listen
from appliance.control.token import Verifier
from appliance.domain.clock import SystemClock
from appliance.engine.stage import Stage
from appliance.portal.names import PortalNames
from appliance.storage.coverage import CoverageLedger
from appliance.storage.sqlite import SqliteStore, StoreError
from appliance.telemetry.health import Health, HealthReader, HealthWriter
from appliance.telemetry.metrics import Metrics
from appliance.web.app import build
from appliance.web.services import CaCertificate, HostNames, Services, TenantCard
from certs import export
from certs.authority import PublicAuthority
from certs.revocation_answers import RevocationAnswers

logger = logging.getLogger(__name__)

RETENTION_INTERVAL = 3600.0
LEAVE_MARGIN = 1.0
"""Seconds beyond the workers' drain time; the supervisor kills a little later."""
MAX_CONNECTIONS = 128


async def run(config: AppConfig, sockets: Mapping[str, socket.socket], index: int, stage: Stage) -> None:
    """Serve until SIGTERM (then until the workers have drained, so that their last records are stored), SIGHUP or SIGINT."""
    leave = departure(config)
    await stage.enter()  # before anything is opened: two drains would store every record twice
    process = _Process(config, leave)
    try:
        await _serve(process, list(sockets.values()), leave)
    finally:
        await asyncio.to_thread(process.close)


async def _serve(process: "_Process", sockets: list[socket.socket], leave: Departure) -> None:
    server = _Server(_settings(process.application()))
    runs = (process.learning.run(), process.readiness.run(), process.quarantine.run(), process.retro.run())
    works = (process.beat.run(leave.handed_over), process.retain(), *runs)
    helpers = [asyncio.create_task(work) for work in works]
    serving, stopping = asyncio.create_task(server.serve(sockets=sockets)), asyncio.create_task(leave.begun.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await process.wait_for_workers()
        server.should_exit = True
        await serving
    finally:
        for task in (*helpers, stopping):
            task.cancel()
        await asyncio.gather(*helpers, stopping, return_exceptions=True)


class _Server(uvicorn.Server):
    """Signals are ours: uvicorn would stop before the workers have drained."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _settings(application: object) -> uvicorn.Config:
    return uvicorn.Config(
        application,  # type: ignore[arg-type]
        loop="asyncio", http="h11", ws="none", lifespan="off", interface="asgi3", log_config=None,
        log_level="warning", access_log=False,
        # X-Forwarded-For would let a client choose the address under which its failed logins are counted
        proxy_headers=False, server_header=False, limit_concurrency=MAX_CONNECTIONS, timeout_keep_alive=15,
        timeout_graceful_shutdown=1, h11_max_incomplete_event_size=32 * 1024,
    )  # fmt: skip


class _Process:
    """What the process is made of."""

    def __init__(self, config: AppConfig, leave: Departure) -> None:
        self.config = config
        self._leave = leave
        self._paths = paths = StatePaths(config.state_dir)
        self._metrics = Metrics()
        self._verifier = Verifier(paths.admin_token)
        self._store = SqliteStore(config.audit.store.path or paths.audit_db)
        self.learning = Learning(config, self._store, paths)
        self.readiness = ReadinessKeeper(config, self._store, SystemClock())
        self.quarantine = QuarantineRetention(config, self._metrics, SystemClock())
        self.retro = Retro(config, self._store, self._metrics, SystemClock())
        self.coverage = CoverageWatch(config, SystemClock())
        further = [*self.coverage.sinks(), *self.learning.sinks(), *self.readiness.sinks(), *self.retro.sinks()]
        self._drain = Drain(paths.spool, [*self._sinks(), *further])
        self._counted: dict[str, FeedStats] = {}
        self._ended = threading.Event()
        self._workers = tuple(f"worker-{number}" for number in range(worker_count(config)))
        self._reader = HealthReader(paths.run)
        self.beat = Heartbeat(paths.run, "admin", self._metrics, self._sample)
        self._drain.start()

    def _sinks(self) -> list[Sink]:
        lines = self.config.audit.json_lines
        if lines is None:
            return [StoreSink(self._store), JsonLinesSink(self._paths.audit_lines)]
        return [StoreSink(self._store), JsonLinesSink(lines.path, lines.rotate_size, lines.keep)]

    def application(self) -> object:
        config = self.config
        known = rotation.readable(config)
        offered = rotation.offered(known, rotation.others(config))
        cas = {name: _certificate(public) for name, public in known.items()}
        return build(
            Services(
                audit=AuditSearch(self._store),
                health=self._health,
                metrics=self._metrics.exposition,
                verifier=self._verifier,
                hosts=_hosts(config),
                tenants={tenant.tenant_id: _card(tenant, cas.get(tenant.ca)) for tenant in config.tenant},
                workers=self._workers,
                revocations=RevocationAnswers(self._paths.pki, SystemClock()).answer,
                draining=self._leave.begun.is_set,
                portal=PortalNames.of(config.portal).name,
                households={str(key): home for key, home in households(config, offered).items()},
                exclusions=self.learning.desk,
                quarantine=desk(config, SystemClock()),
                retro=self.retro.desk,
                readiness=self.readiness.of,
                coverage=CoverageLedger(self._store).report,
            )
        )

    def _health(self) -> Health:
        helpers = ["parent", "admin"]
        helpers += ["signer"] if needs_signer(self.config) else []
        helpers += process_names(self.config)
        return self._reader.read((*self._workers, *helpers))

    def _sample(self, health: HealthWriter) -> None:
        """For the heartbeat: the sinks' counters and states, and everyone's health as gauges."""
        ca_watch.sample(self.config, SystemClock(), self._metrics, health)
        self.readiness.sample(self._metrics, health)
        self.coverage.sample(self._metrics, health)
        self.quarantine.sample(health)
        self.retro.sample(health)
        for name, stats in self._drain.stats().items():
            self._count(name, stats)
            health.set(f"audit_{name}", *backlog.standing(stats, self.config.audit.spool_max))
        self._metrics.set("arcus_exclusions_active", value=self.learning.sample(health))
        for process in self._health().processes.values():
            for component, item in process.components.items():
                self._metrics.set("arcus_health_state", component, value=item.state.rank)

    def _count(self, name: str, stats: FeedStats) -> None:
        before = self._counted.get(name)
        for metric, field in _COUNTERS.items():
            amount = getattr(stats, field) - (getattr(before, field) if before else 0)
            self._metrics.inc(metric, name, amount=amount)
        self._metrics.set("arcus_audit_sink_lag_bytes", name, value=stats.lag_bytes)
        self._counted[name] = stats

    async def retain(self) -> None:
        """Delete what is older than the configuration says, once an hour."""
        while True:
            try:
                keep = self.config.audit.store.retention
                gone = await asyncio.to_thread(self._store.retain, keep, self._ended)
                if keep:
                    await asyncio.to_thread(CoverageLedger(self._store).delete_before, time.time() - keep)
                if gone:
                    logger.info("old audit events deleted", extra={"count": gone})
            except StoreError as error:
                logger.error("old audit events cannot be deleted", extra={"error": str(error)})
            await asyncio.sleep(RETENTION_INTERVAL)

    async def wait_for_workers(self) -> None:
        """Until no worker is left, for as long as they may drain; not at all after SIGINT, or when another takes this place."""
        leave = self._leave
        while not (leave.quick or leave.replaced) and leave.left + LEAVE_MARGIN > 0 and self._a_worker_lives():  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def _a_worker_lives(self) -> bool:
        processes = self._reader.read().processes.values()
        return any("worker-" in process.name and not process.stale for process in processes)

    def close(self) -> None:
        """A last pass of the drain, then everything ends."""
        self._ended.set()
        self.learning.tell()
        self._drain.stop()
        self._store.close()
        self._verifier.close()


_COUNTERS = {
    "arcus_audit_sink_events_total": "events",
    "arcus_audit_sink_errors_total": "errors",
    "arcus_audit_sink_rejected_total": "rejected",
}


def _hosts(config: AppConfig) -> HostNames:
    if config.admin is None:
        raise ValueError("no admin in the configuration")
    published = [urlsplit(ca.revocation_url).hostname or "" for ca in config.ca if ca.revocation_url]
    return host_names(config.admin.listen, [*config.admin.names, *published])


def host_names(listen: Listen, names: list[str]) -> HostNames:
    """What clients may call this listener: its address, localhost, the names of the configuration."""
    host = listen.address.host
    always = {"localhost", "127.0.0.1", "::1", host, *names}
    return HostNames(frozenset(always), any_address=host in ("0.0.0.0", "::"))


def _certificate(public: PublicAuthority) -> CaCertificate:
    certificate = public.certificate
    return CaCertificate(
        name=public.name,
        subject=certificate.subject.rfc4514_string(),
        sha256=export.fingerprints(public)["sha256"],
        not_after=certificate.not_valid_after_utc.timestamp(),
        pem=export.pem(public),
        der=export.der(public),
    )


def _card(tenant: Tenant, ca: CaCertificate | None) -> TenantCard:
    networks = tuple(str(network) for network in tenant.match.networks)
    return TenantCard(tenant.tenant_id, tenant.tenant_name, tenant.status, networks, tuple(tenant.match.sni), ca)
