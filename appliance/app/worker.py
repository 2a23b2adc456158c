"""A worker process: the traffic path, joined."""

import asyncio
import random
import signal
import socket
import ssl
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
from addons.overlap import Overlap
from addons.parent import Parent
from addons.portal import Portal
from addons.proceed import Proceed
from addons.record import Record
from addons.scanning import Scanning
from addons.trusting import Trusting
from addons.upstream_tls import UpstreamTls
from appliance.app import rotation
from appliance.app.beat import Heartbeat
from appliance.app.client_certificates import presenting, sample
from appliance.app.exclusions import SnapshotReader, exclusions
from appliance.app.gauges import Gauges, Watched
from appliance.app.keys import Signers, public_authorities
from appliance.app.memory import Memory
from appliance.app.parts import drain_seconds, own_listeners, stop_on
from appliance.app.paths import StatePaths
from appliance.app.portal import site
from appliance.app.publishing import Publisher, portal_route
from appliance.app.ready_clients import ReadyClients
from appliance.app.sessions import Sessions
from appliance.app.shared_leaves import SharedTier
from appliance.app.traffic import Traffic, both
from appliance.app.upstream import Upstream, certificate_matrix
from appliance.audit.recorder import Recorder
from appliance.audit.spool import Spool
from appliance.config.auditor import Auditor
from appliance.config.ca import Ca
from appliance.config.root import AppConfig
from appliance.config.server import HttpProxy, Server
from appliance.config.survey import Survey as SurveyConfig
from appliance.domain.clock import SystemClock
from appliance.domain.errors import PolicyError
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, normalise_host
from appliance.egress.context import EscapeContext
from appliance.egress.dialer import Dialer
from appliance.egress.escaper import Dialed
from appliance.egress.registry import Registry
from appliance.engine.deadlines import Deadlines
from appliance.engine.gate import Gate, TenantView
from appliance.engine.hooks import HookTable
from appliance.engine.lanes import Reception
from appliance.engine.listener import Listener, network_set
from appliance.engine.session import Engine
from appliance.engine.stream import SERVER_READ_LIMIT, PeekReader
from appliance.engine.survey import Survey, Surveyor
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
from certs.authority import PublicAuthority
from certs.cache import LeafCache
from certs.generations import Generation
from certs.revocation_answers import RevocationAnswers
from icap.client import IcapService

HOOK_MARGIN = 10.0
"""Seconds that a hook may take beyond the longest ICAP transaction configured."""


async def run(config: AppConfig, sockets: Mapping[str, socket.socket], index: int, seed: bytes = b"") -> None:
    """Serve until SIGTERM (drain) or SIGINT (at once). ``seed``: of the ticket keys that all workers share."""
    stop, received = stop_on((signal.SIGTERM, signal.SIGINT))
    build = _Build(config, index, seed)
    worker = build.worker(sockets)
    beat = Heartbeat(StatePaths(config.state_dir).run, f"worker-{index}", build.metrics, build.sample)
    build.signers.start()
    build.shared.start()
    beating = asyncio.create_task(beat.run())
    drain = drain_seconds(config)
    serving = asyncio.create_task(worker.run(stop, lambda: 0.0 if signal.SIGINT in received else drain))
    try:
        await serving
    finally:
        # Before the health file goes: then the admin process makes its last pass, and leaves segments that are held.
        build.spool.close()
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await build.close()


class _Build:
    """Everything one worker is made of."""

    def __init__(self, config: AppConfig, index: int, seed: bytes = b"") -> None:
        self.config = config
        self.index = index
        self.clock = SystemClock()
        self.memory = Memory()
        self.metrics = Metrics()
        self.traffic = Traffic(self.metrics, {server.name: server.type for server in config.server})
        self.listeners: list[Listener] = []
        self.receptions: list[Reception] = []
        self.authorities = public_authorities(config)
        self.signers = Signers(config, self.metrics, self.clock)
        self.shared = SharedTier(config, self.metrics, self.clock)
        self.leaves = {ca.name: self._leaves(ca, self.authorities[ca.name]) for ca in config.ca}
        beside = rotation.others(config)
        self.lists = compile_lists(config.host_list)
        paths = StatePaths(config.state_dir)
        revocations = portal_route(RevocationAnswers(paths.pki, self.clock))
        self.site = site(config, rotation.offered(self.authorities, beside), [revocations])
        self.ready = ReadyClients(paths.run)
        self.overlap = self._overlap(beside)
        self.publisher = Publisher(paths.pki, [seat.authority for seat in self.signers.held] if index == 0 else [], self.clock)
        self.exclusions = exclusions(config, random.random)
        self.presenting = presenting(config, self.exclusions, self.clock)
        self.learned = SnapshotReader(paths.exclusions, self.exclusions)
        self.auditors = {auditor.name: auditor for auditor in config.auditor}
        self.sessions = Sessions(config.server, self._per_tenant(lambda auditor: auditor), self.clock, seed)
        self.upstream = Upstream(config, rotation.own(self.authorities, beside), self.clock)
        self.grants = self.upstream.grants()
        self.warnings = self.upstream.warnings(self.grants)
        tenants = {TenantId(tenant.tenant_id): tenant for tenant in config.tenant}
        self.pages = PageMaker(tenants, self._challenge, self.warnings.offer, self.site.names.name).page
        self.registry = Registry.from_config(config.escaper, config.resolver, own_listeners(config), self.clock)
        self.dialer = Dialer(self.registry, lambda: PeekReader(SERVER_READ_LIMIT))
        self.icap: dict[tuple[str, str], IcapService] = {}
        self.executor = ThreadPoolExecutor(2, thread_name_prefix="argon2")
        self.spool = Spool(paths.spool, index, config.audit.spool_max)
        self.recorder = Recorder(self.spool, config.audit.mask_query)
        self.access = AccessPolicy.compile(config.tenant, config.user_group)
        self.quota = ConnectionQuota(config.tenant)
        self.gate = self._gate()
        self.trusts = self.upstream.trusts()
        self.aftercare = self.upstream.aftercare(self.trusts, self._dial, self._resolve)
        self.survey = Survey(self._dial, self._surveyors(), self.gate.escaper, self.clock)
        self.gauges = Gauges(self.metrics, self._watched())

    def _watched(self) -> Watched:
        tenants = tuple(TenantId(tenant.tenant_id) for tenant in self.config.tenant)
        return Watched(
            self.listeners, self.receptions, self.leaves, self.registry, self.spool, self.quota, tenants, self.icap,
            self.survey, self.aftercare,
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

    def _surveyors(self) -> dict[TenantId, Surveyor]:
        def config(auditor: Auditor) -> SurveyConfig:
            return auditor.tls_interception.survey if auditor.tls_interception else SurveyConfig()

        configs = self._per_tenant(config)
        return {tenant: Surveyor(trust, configs[tenant]) for tenant, trust in self.trusts.items()}

    def _leaves(self, ca: Ca, authority: PublicAuthority) -> LeafCache:
        signer = self.shared.around(self.signers.by_ca[ca.name], ca, authority)
        return LeafCache(authority, ca.leaf_cache_size, ca.leaf_cache_ttl, self.clock, signer=signer)

    def _overlap(self, beside: rotation.Others) -> Overlap | None:
        upcoming = {ca.name: (ca, found) for ca in self.config.ca if (found := beside[ca.name].get(Generation.NEXT))}
        caches = {name: self._leaves(ca, found) for name, (ca, found) in upcoming.items()}
        return rotation.overlap(self.config, caches, self.site.names.next, self.ready)

    def _scanning(self, auditor: Auditor) -> Scanning:
        return Scanning(
            auditor, self._service(auditor, auditor.icap_reqmod_service), self._service(auditor, auditor.icap_respmod_service)
        )

    def _service(self, auditor: Auditor, uri: str | None) -> IcapService | None:
        if uri is None:
            return None
        key = (auditor.name, uri)
        if key not in self.icap:
            self.icap[key] = IcapService(
                uri,
                connect_timeout=auditor.icap_connect_timeout,
                timeout=auditor.icap_timeout,
                max_connections=auditor.icap_max_connections,
                on_event=self.traffic.icap_event,
            )
        return self.icap[key]

    # -- the traffic path --

    def worker(self, sockets: Mapping[str, socket.socket]) -> Worker:
        deadlines = Deadlines()
        trusting = Trusting(self.clock)
        finish = Finish(self.recorder.record, both(self.traffic.task, trusting.task))
        engine = Engine(
            gate=self.gate,
            hooks=HookTable(self._addons(Record(finish)), self._hook_budget()),
            dial=self._dial,
            ending=Ends(finish, self.pages, trusting),
            record=self._record,
            page=self.pages,
            resolve=self._resolve,
            survey=self.survey,
            full=lambda: self.recorder.full,
            deadlines=deadlines,
            limit_hit=self.traffic.limit,
            connection_ended=self.traffic.connection,
        )
        for server in self.config.server:
            reception = Reception(engine, server, _listener_tls(server), network_set(server.trusted_proxies))
            self.receptions.append(reception)
            self.listeners.append(Listener(server, sockets[server.name], reception.serve, self.traffic.refused(server.name)))
        return Worker(self.listeners, self.receptions, deadlines)

    def _addons(self, record: Record) -> list[object]:
        tenants = {TenantId(t.tenant_id): t for t in self.config.tenant}
        http2 = frozenset(
            tenant for tenant, t in tenants.items() if (i := self.auditors[t.auditor].tls_interception) and i.http2
        )
        return [
            Identify(self.gate, self.pages, lambda: self.recorder.full, self._for_portal),
            Portal(self.site),
            Proceed(self.warnings, self.pages),
            Access(self.gate, self.pages),
            Consistency(self.gate, self._resolve, self.pages),
            Parent(self.pages),
            Adapt(self._per_tenant(self._scanning), self.pages, self.traffic.scan),
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
            record,
        ]

    def _forge(self, http2: frozenset[TenantId]) -> Forge:
        same_key = {ca.name for ca in self.config.ca if ca.leaf_key == "origin"}
        cas = {TenantId(tenant.tenant_id): tenant.ca for tenant in self.config.tenant}
        caches = {tenant: self.leaves[ca] for tenant, ca in cas.items()}
        followers = frozenset(tenant for tenant, ca in cas.items() if ca in same_key)
        untrusted, sessions = self.upstream.untrusted_leaves(self.signers.untrusted), self.sessions
        return Forge(
            caches,
            http2,
            self.clock,
            self.traffic.handshake,
            followers,
            untrusted,
            self.overlap,
            sessions.tickets,
            sessions.floor,
        )

    def _for_portal(self, notes: TaskNotes, claimed: str) -> bool:
        return self.site.names.request(notes.conn, notes.target, notes.scheme, claimed, notes.path)

    def _hook_budget(self) -> float:
        return max((auditor.icap_timeout for auditor in self.config.auditor), default=0.0) + HOOK_MARGIN

    def sample(self, health: HealthWriter) -> None:
        """For the heartbeat: gauges, and what this worker knows of its health."""
        self.memory.give_back(self.clock.monotonic())
        full = self.recorder.full
        self.gauges.sample()
        self.signers.sample(health)
        self.publisher.sample(health)
        self.ready.sample()
        self.shared.sample(health)
        sample(self.presenting.identities.values(), health, self.clock.now())
        self.learned.refresh()
        health.set("exclusions", State.DEGRADED if self.learned.error else State.OK, self.learned.error)
        self.sessions.sample(health)
        health.set("audit_spool", State.UNHEALTHY if full else State.OK, "full" if full else "")
        for (_, uri), service in self.icap.items():
            down = service.stats.suspended
            health.set(f"icap {uri}", State.DEGRADED if down else State.OK, "suspended after failures" if down else "")

    def _record(self, notes: TaskNotes) -> None:
        self.recorder.record(notes)
        self.traffic.task(notes)

    async def _dial(self, conn: ConnNotes, address: tuple[str, int], protocol: str) -> Dialed:
        root, context = self._way_out(conn, Target(normalise_host(address[0]), address[1]), protocol)
        dialed = await self.dialer.connect(root, context)
        self.traffic.connected(dialed.notes)
        return dialed

    async def _resolve(self, conn: ConnNotes, target: Target) -> tuple[str, ...]:
        return await self.dialer.addresses(*self._way_out(conn, target, "tls"))

    def _way_out(self, conn: ConnNotes, target: Target, protocol: str) -> tuple[str, EscapeContext]:
        tenant = conn.tenant or TenantId("")
        root = self.gate.escaper(conn)
        if not root:
            raise PolicyError(Reason.NO_ESCAPER, f"tenant {tenant}")
        user = conn.user.name if conn.user else ""
        return root, EscapeContext(tenant, target, conn.client.ip, user, protocol, conn.conn_id)  # type: ignore[arg-type]

    async def close(self) -> None:
        self.survey.close()
        for service in self.icap.values():
            await service.close()
        await self.shared.close()
        await self.signers.close()
        self.spool.close()
        self.registry.close()
        self.executor.shutdown(wait=False, cancel_futures=True)


def _listener_tls(server: Server) -> ssl.SSLContext | None:
    """TLS to the proxy itself: Mozilla's intermediate profile, HTTP/1.1 only."""
    if not isinstance(server, HttpProxy) or server.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if server.tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(server.tls.certificate, server.tls.private_key)
    return context
