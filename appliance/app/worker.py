"""A worker process: the traffic path, joined."""

import asyncio
import random
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from addons.access import Access
from addons.adapt import Adapt
from addons.consistency import Consistency
from addons.ends import Ends
from addons.finish import Finish
from addons.forge import Forge
from addons.headers import Headers
from addons.identify import Identify
from addons.keeping import Keeping
from addons.parent import Parent
from addons.patience import Patience
from addons.portal import Portal
from addons.proceed import Proceed
from addons.record import Record
from addons.trusting import Trusting
from addons.upstream_tls import UpstreamTls
from addons.waiting import offers
from appliance.app import rotation
from appliance.app.beat import Heartbeat
from appliance.app.client_certificates import presenting, sample
from appliance.app.closed_keys import close_keys
from appliance.app.exclusions import exclusions, snapshot
from appliance.app.gauges import Gauges, Watched
from appliance.app.held_bodies import held_bodies
from appliance.app.icap_services import Place, longest
from appliance.app.idle_servers import idle_servers
from appliance.app.leaves import Leaves
from appliance.app.listener_tls import listener_tls
from appliance.app.memory import Memory
from appliance.app.parts import departure, own_listeners, worker_count
from appliance.app.paths import StatePaths
from appliance.app.patience import Downloads
from appliance.app.portal import site
from appliance.app.publishing import Publisher, portal_route
from appliance.app.quarantine import keeper
from appliance.app.ready_clients import ReadyClients
from appliance.app.recalled import Recalled
from appliance.app.retro_samples import sampler
from appliance.app.scanners import Scanners
from appliance.app.sessions import Sessions
from appliance.app.sockets import shared_out
from appliance.app.traffic import Traffic, both
from appliance.app.upstream import Upstream, certificate_matrix
from appliance.app.verdicts import Verdicts
from appliance.app.ways_out import WaysOut
from appliance.audit.recorder import Recorder
from appliance.audit.spool import Spool
from appliance.config.auditor import Auditor
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.egress.dialer import Dialer
from appliance.egress.registry import Registry
from appliance.engine.deadlines import Deadlines
from appliance.engine.gate import Gate, TenantView
from appliance.engine.hooks import HookTable
from appliance.engine.lanes import Reception
from appliance.engine.listener import Listener, network_set
from appliance.engine.session import Engine
from appliance.engine.stage import Stage
from appliance.engine.stream import SERVER_READ_LIMIT, PeekReader
from appliance.engine.survey import Survey
from appliance.engine.worker import Worker
from appliance.identity.authenticator import Authenticator
from appliance.policy.access import AccessPolicy
from appliance.policy.decrypt import DecryptPolicy, compile_lists
from appliance.policy.pages import PageMaker
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics
from appliance.tenancy.quota import ConnectionQuota
from appliance.tenancy.registry import TenantRegistry
from appliance.tenancy.resolve import TenantResolver
from certs.revocation_answers import RevocationAnswers

HOOK_MARGIN = 10.0
"""Seconds that a hook may take beyond the longest wait configured: an ICAP transaction, or what is fetched about a server."""


async def run(config: AppConfig, sockets: Mapping[str, socket.socket], index: int, stage: Stage, seed: bytes = b"") -> None:
    """Serve until SIGTERM (drain), SIGHUP (others serve) or SIGINT (at once). ``seed``: of the ticket keys that all share."""
    keys = close_keys(config)
    leave = departure(config)
    build = _Build(config, index, seed, lambda: leave.replaced)
    build.keys = keys
    worker = build.worker(sockets)
    beat = Heartbeat(StatePaths(config.state_dir).run, f"worker-{index}", build.metrics, build.sample)
    build.leaves.start()
    await build.scanners.start()
    build.downloads.start()
    beating: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    try:
        await stage.enter()
        beating = asyncio.create_task(beat.run(leave.handed_over))
        await worker.run(leave.begun, lambda: leave.left, lambda: leave.replaced)
        await build.downloads.drained(lambda: leave.left if leave.replaced else 0.0)
    finally:
        await build.downloads.close()
        # Before the health file goes: then the admin process makes its last pass, and leaves segments that are held.
        build.spool.close()
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await build.close()


class _Build:
    """Everything one worker is made of."""

    keys = ""
    """Whether this process could read the key files of CAs."""

    def __init__(self, config: AppConfig, index: int, seed: bytes = b"", leaving: Callable[[], bool] = lambda: False) -> None:
        self.config = config
        self.index = index
        self.leaving = leaving
        self.clock = SystemClock()
        self.memory = Memory()
        self.metrics = Metrics()
        self.traffic = Traffic(self.metrics, {server.name: server.type for server in config.server})
        self.listeners: list[Listener] = []
        self.receptions: list[Reception] = []
        self.leaves = leaves = Leaves(config, self.metrics, self.clock)
        beside = rotation.others(config)
        self.lists = compile_lists(config.host_list)
        paths = StatePaths(config.state_dir)
        revocations = portal_route(RevocationAnswers(paths.pki, self.clock))
        self.site = site(config, rotation.offered(leaves.authorities, beside), [revocations])
        self.ready = ReadyClients(paths.run)
        self.overlap = leaves.overlap(beside, self.site.names.next, self.ready)
        self.publisher = Publisher(
            paths.pki, [seat.authority for seat in leaves.signers.held] if index == 0 else [], self.clock
        )
        self.exclusions = exclusions(config, random.random)
        self.presenting = presenting(config, self.exclusions, self.clock)
        self.learned = snapshot(paths.exclusions, self.exclusions)
        self.room = held_bodies(config.held_bodies, paths)
        self.auditors = {auditor.name: auditor for auditor in config.auditor}
        by_tenant = self._per_tenant(lambda auditor: auditor)
        self.sessions = Sessions(config.server, by_tenant, self.clock, seed)
        place = Place(index, worker_count(config))
        self.recalled = Recalled(paths.recalled)
        self.verdicts = Verdicts(config.verdict_cache, self.metrics, self.clock, leaves.verdicts(), self.recalled.since)
        self.scanners = Scanners(config, self.lists, self.traffic.icap_event, place, self.verdicts)
        self.upstream = Upstream(config, rotation.own(leaves.authorities, beside), self.clock)
        self.quarantine = keeper(config, self.metrics)
        self.downloads = Downloads(config, self.clock)
        self.samples = sampler(config, self.metrics)
        self.grants = self.upstream.grants()
        self.warnings = self.upstream.warnings(self.grants)
        tenants = {TenantId(tenant.tenant_id): tenant for tenant in config.tenant}
        self.pages = PageMaker(tenants, self._challenge, self.warnings.offer, self.site.names.name).page
        self.registry = Registry.from_config(config.escaper, config.resolver, own_listeners(config), self.clock)
        self.executor = ThreadPoolExecutor(2, thread_name_prefix="argon2")
        self.spool = Spool(paths.spool, index, config.audit.spool_max)
        self.recorder = Recorder(self.spool, config.audit.mask_query)
        self.access = AccessPolicy.compile(config.tenant, config.user_group)
        self.quota = ConnectionQuota(config.tenant)
        self.gate = self._gate()
        dialer = Dialer(self.registry, lambda: PeekReader(SERVER_READ_LIMIT))
        self.ways = WaysOut(dialer, self.gate.escaper, self.traffic.connected)
        self.idle_servers = idle_servers(by_tenant, self.ways.stands, self.clock)
        self.trusts = self.upstream.trusts()
        self.aftercare = self.upstream.aftercare(self.trusts, self.ways.dial, self.ways.resolve)
        self.survey = Survey(self.ways.dial, self.upstream.surveyors(self.trusts), self.gate.escaper, self.clock)
        self.gauges = Gauges(self.metrics, self._watched())

    def _watched(self) -> Watched:
        tenants = tuple(TenantId(tenant.tenant_id) for tenant in self.config.tenant)
        return Watched(
            self.listeners, self.receptions, self.leaves.by_tenant.values(), self.registry, self.spool, self.quota, tenants,
            self.scanners.clients, self.survey, self.aftercare, self.room, self.idle_servers,
        )  # fmt: skip

    # -- decisions --

    def _challenge(self, conn: ConnNotes) -> str:
        return self.gate.challenge(conn)

    def _gate(self) -> Gate:
        config = self.config
        views = {TenantId(tenant.tenant_id): self._view(tenant.tenant_id) for tenant in config.tenant}
        return Gate(
            TenantResolver(config.tenant, config.server),
            TenantRegistry(config.tenant, config.server),
            views,
            Authenticator(config.user_group, self.clock, self.executor),
            self.access,
            self.quota,
            self.traffic.authenticated,
            self.site.names,
        )

    def _view(self, tenant_id: str) -> TenantView:
        tenant = next(each for each in self.config.tenant if each.tenant_id == tenant_id)
        auditor = self.auditors[tenant.auditor]
        decrypt = DecryptPolicy.compile(auditor, self.lists, self.exclusions)
        return TenantView(tenant, auditor, decrypt, certificate_matrix(auditor))

    # -- services of each tenant --

    def _per_tenant[T](self, make: Callable[[Auditor], T]) -> dict[TenantId, T]:
        return {TenantId(tenant.tenant_id): make(self.auditors[tenant.auditor]) for tenant in self.config.tenant}

    # -- the traffic path --

    def worker(self, sockets: Mapping[str, socket.socket]) -> Worker:
        deadlines = Deadlines()
        deadlines.add(self.idle_servers)
        trusting = Trusting(self.clock)
        finish = Finish(self.recorder.record, both(self.traffic.task, trusting.task))
        engine = Engine(
            gate=self.gate,
            hooks=HookTable(self._addons(finish), self._hook_budget()),
            dial=self.ways.dial,
            ending=Ends(finish, self.pages, trusting),
            record=self._record,
            page=self.pages,
            resolve=self.ways.resolve,
            survey=self.survey,
            full=lambda: self.recorder.full,
            deadlines=deadlines,
            limit_hit=self.traffic.limit,
            connection_ended=self.traffic.connection,
            idle_servers=self.idle_servers,
            leaving=self.leaving,
        )
        for server in self.config.server:
            reception = Reception(engine, server, listener_tls(server), network_set(server.trusted_proxies))
            self.receptions.append(reception)
            mine = shared_out(sockets, server.name)
            self.listeners.append(Listener(server, mine, reception.serve, self.traffic.refused(server.name)))
        return Worker(self.listeners, self.receptions, deadlines, self.idle_servers.close)

    def _addons(self, finish: Finish) -> list[object]:
        tenants = {TenantId(t.tenant_id): t for t in self.config.tenant}
        http2 = frozenset(
            tenant for tenant, t in tenants.items() if (i := self.auditors[t.auditor].tls_interception) and i.http2
        )
        return [
            Identify(self.gate, self.pages, lambda: self.recorder.full, self._for_portal),
            Portal(self.site),
            Proceed(self.warnings, self.pages),
            Access(self.gate, self.pages),
            Patience(self.downloads.desk, self.pages),
            Consistency(self.gate, self.ways.resolve, self.pages),
            Parent(self.pages),
            Adapt(
                self.scanners.by_tenant,
                self.pages,
                self.traffic.scan,
                self.room,
                self.quarantine,
                offers(self.downloads.desk, self.pages, finish.flow),
                self.samples,
            ),
            Headers(self._per_tenant(lambda auditor: auditor.alt_svc)),
            UpstreamTls(
                self.trusts,
                self.upstream.matrices(self.grants),
                self.presenting,
                http2,
                self.traffic.handshake,
                self.aftercare,
            ),
            self.sessions.resumption(self.traffic.session),
            self._forge(http2),
            Keeping(self.idle_servers.forget),
            Record(finish),
        ]

    def _forge(self, http2: frozenset[TenantId]) -> Forge:
        return Forge(
            self.leaves.by_tenant,
            http2,
            self.clock,
            self.traffic.handshake,
            self.leaves.same_key,
            self.upstream.untrusted_leaves(self.leaves.signers.untrusted),
            self.overlap,
            self.sessions.tickets,
            self.sessions.floor,
        )

    def _for_portal(self, notes: TaskNotes, claimed: str) -> bool:
        return self.site.names.request(notes.conn, notes.target, notes.scheme, claimed, notes.path)

    def _hook_budget(self) -> float:
        return max([*longest(self.config), *(care.patience for care in self.aftercare.values())], default=0.0) + HOOK_MARGIN

    def sample(self, health: HealthWriter) -> None:
        """For the heartbeat: gauges, and what this worker knows of its health."""
        self.memory.give_back(self.clock.monotonic())
        full = self.recorder.full
        self.gauges.sample()
        self.leaves.sample(health)
        self.publisher.sample(health)
        sample(self.presenting.identities.values(), health, self.clock.now())
        for name, file in (("exclusions", self.learned), ("ca_ready", self.ready.file), ("recalled", self.recalled.file)):
            file.look()
            health.set(name, State.DEGRADED if file.trouble else State.OK, file.trouble)
            self.metrics.set("arcus_file_unreadable", name, value=int(bool(file.trouble)))
        self.sessions.sample(health)
        health.set("ca_keys", State.OK, self.keys)
        self.downloads.sample(self.metrics)
        health.set("audit_spool", State.UNHEALTHY if full else State.OK, "full" if full else "")
        self.scanners.sample(health)
        self.verdicts.sample()

    def _record(self, notes: TaskNotes) -> None:
        self.recorder.record(notes)
        self.traffic.task(notes)

    async def close(self) -> None:
        self.survey.close()
        await self.quarantine.close()
        if self.samples is not None:
            await self.samples.close()
        await self.scanners.close()
        await self.verdicts.close()
        await self.leaves.close()
        self.spool.close()
        self.registry.close()
        self.executor.shutdown(wait=False, cancel_futures=True)
