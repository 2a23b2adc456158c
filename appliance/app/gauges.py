"""What is read every two seconds instead of being written on the hot path: gauges, and totals that others keep."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from addons.aftercare import Aftercare
from appliance.app.icap_gauges import Services
from appliance.audit.spool import Spool
from appliance.domain.ids import TenantId
from appliance.egress.registry import Registry
from appliance.engine.idle_servers import IdleServers
from appliance.engine.lanes import Reception
from appliance.engine.listener import Listener
from appliance.engine.survey import Survey
from appliance.telemetry.metrics import Metrics
from appliance.telemetry.totals import Totals
from appliance.tenancy.quota import ConnectionQuota
from certs.cache import LeafCache
from icap.client import IcapService, Room


@dataclass(frozen=True, slots=True)
class Watched:
    """The parts of a worker that are looked at. The collections may grow until the first sample."""

    listeners: list[Listener]
    receptions: list[Reception]
    leaves: Collection[LeafCache]
    registry: Registry
    spool: Spool
    quota: ConnectionQuota
    tenants: tuple[TenantId, ...]
    icap: Sequence[IcapService]
    survey: Survey
    aftercare: Mapping[TenantId, Aftercare]
    room: Room
    idle_servers: IdleServers


class Gauges:
    def __init__(self, metrics: Metrics, watched: Watched) -> None:
        self._metrics = metrics
        self._totals = Totals(metrics)
        self._watched = watched

    def sample(self) -> None:
        self._servers()
        self._egress()
        self._leaves(self._watched.leaves)
        self._audit(self._watched.spool)
        self._icap()
        self._bodies(self._watched.room)
        for result, total in self._watched.survey.counters.items():
            self._totals.reach("arcus_survey_total", result, total=total)
        self._certificates(self._watched.aftercare.values())
        self._kept(self._watched.idle_servers)

    def _kept(self, idle: IdleServers) -> None:
        self._metrics.set("arcus_upstream_kept_waiting", value=len(idle))
        for event, total in idle.counters.items():
            self._totals.reach("arcus_upstream_kept_total", event, total=total)
        for cause, total in idle.dropped.items():
            self._totals.reach("arcus_upstream_kept_dropped_total", cause, total=total)

    def _certificates(self, tenants: Iterable[Aftercare]) -> None:
        chains: Counter[str] = Counter()
        asked: Counter[tuple[str, str]] = Counter()
        for each in tenants:
            chains += each.issuers.counters
            asked += each.revocation.counters
        for result, total in chains.items():
            self._totals.reach("arcus_upstream_chains_total", result, total=total)
        for labels, total in asked.items():
            self._totals.reach("arcus_revocation_total", *labels, total=total)

    def _servers(self) -> None:
        metrics, watched = self._metrics, self._watched
        for listener in watched.listeners:
            name, kind = listener.config.name, listener.config.type
            metrics.set("arcus_server_connections_active", name, kind, value=listener.active)
            self._totals.reach("arcus_server_connections_total", name, kind, total=listener.accepted)
        for reception in watched.receptions:
            metrics.set("arcus_server_requests_active", reception.name, value=reception.open_tasks)
        for tenant in watched.tenants:
            metrics.set("arcus_tenant_connections_active", tenant, value=watched.quota.tenants.held(tenant))

    def _egress(self) -> None:
        reach = self._totals.reach
        for escaper in self._watched.registry.summaries():
            reach("arcus_escaper_attempts_total", escaper.name, total=escaper.stats.chosen)
            reach("arcus_escaper_established_total", escaper.name, total=escaper.stats.connected)
            for reason, total in escaper.stats.failures.items():
                reach("arcus_escaper_failures_total", escaper.name, reason, total=total)
        for resolver, queries in self._watched.registry.queries().items():
            for result, total in queries.items():
                reach("arcus_resolver_queries_total", resolver, result, total=total)

    def _leaves(self, caches: Collection[LeafCache]) -> None:
        counters = [cache.counters for cache in caches]
        self._metrics.set("arcus_leaf_cache_entries", value=sum(len(cache) for cache in caches))
        reach = self._totals.reach
        reach("arcus_leaf_cache_total", "hit", total=sum(each.hits + each.joined for each in counters))
        reach("arcus_leaf_cache_total", "miss", total=sum(each.misses for each in counters))
        reach("arcus_leaf_signed_total", "ecdsa", total=sum(each.signed - each.signed_rsa for each in counters))
        reach("arcus_leaf_signed_total", "rsa", total=sum(each.signed_rsa for each in counters))

    def _audit(self, spool: Spool) -> None:
        self._metrics.set("arcus_audit_spool_bytes", value=spool.used)
        self._metrics.set("arcus_audit_spool_full", value=int(spool.full))
        self._totals.reach("arcus_audit_spool_records_total", total=spool.stats.records)
        self._totals.reach("arcus_audit_spool_refused_total", total=spool.stats.refused)

    def _bodies(self, room: Room) -> None:
        self._metrics.set("arcus_bodies_held_bytes", "memory", value=room.memory_used)
        self._metrics.set("arcus_bodies_held_bytes", "disk", value=room.disk_used)
        self._totals.reach("arcus_bodies_spilled_total", total=room.spilled)
        self._totals.reach("arcus_bodies_refused_total", total=room.refused)

    def _icap(self) -> None:
        stats = [service.stats for service in self._watched.icap]
        self._metrics.set("arcus_icap_connections_active", value=sum(each.busy + each.idle for each in stats))
        self._metrics.set("arcus_icap_waiting", value=sum(each.waiting for each in stats))
        services = Services()
        for service in self._watched.icap:
            services.add(service)
        services.show(self._metrics, self._totals)
