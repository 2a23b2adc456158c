"""Totals and states that others keep, brought into the metrics now and then."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from appliance.app.gauges import Gauges, Watched
from appliance.audit.spool import SpoolStats
from appliance.config.escaper import DummyDeny
from appliance.config.tenant import Tenant
from appliance.domain.ids import TenantId
from appliance.egress.registry import Registry
from appliance.telemetry.metrics import Metrics
from appliance.tenancy.quota import ConnectionQuota
from certs.cache import Counters
from icap.client import Room
from icap.client.standing import State
from icap.client.stats import ServiceStats

A = TenantId("a")


class Cache:
    def __init__(self) -> None:
        self.counters = Counters(hits=3, misses=2, joined=1, signed=2, signed_rsa=1)

    def __len__(self) -> int:
        return 2


class Idle:
    counters = Counter(kept=5, reused=3)
    dropped = Counter(idle=1)

    def __len__(self) -> int:
        return 4


CARE = SimpleNamespace(
    issuers=SimpleNamespace(counters=Counter(completed=2)), revocation=SimpleNamespace(counters=Counter({("ocsp", "good"): 3}))
)


def service(name: str, state: State) -> Any:
    stats = ServiceStats(busy=1, idle=2, waiting=3, retries=4, suspensions=5)
    stats.errors["icap_timeout"], stats.outcomes["clean"], stats.probes["ok"] = 1, 2, 3
    return SimpleNamespace(name=name, stats=stats, standing=SimpleNamespace(state=state))


def watched(registry: Registry) -> Any:
    quota = ConnectionQuota([Tenant(tenant_id="a", ca="ca", auditor="x")])
    quota.acquire_tenant(A)
    config = SimpleNamespace(name="in", type="http_proxy")
    return Watched(
        listeners=[SimpleNamespace(config=config, active=4, accepted=7)],  # type: ignore[list-item]
        receptions=[SimpleNamespace(name="in", open_tasks=2)],  # type: ignore[list-item]
        leaves=[Cache()],  # type: ignore[list-item]
        registry=registry,
        spool=SimpleNamespace(used=500, full=True, stats=SpoolStats(records=9, refused=1)),  # type: ignore[arg-type]
        quota=quota,
        tenants=(A, TenantId("b")),
        aftercare={A: CARE, TenantId("b"): CARE},  # type: ignore[dict-item]
        icap=[service("av", State.DOWN), service("av", State.UP), service("dlp", State.SUSPENDED)],
        survey=SimpleNamespace(counters={"looked": 2}),  # type: ignore[arg-type]
        room=Room(memory_used=11, disk_used=13, spilled=17, refused=19),
        idle_servers=Idle(),  # type: ignore[arg-type]
    )


def samples(metrics: Metrics) -> dict[str, float]:
    found = [sample for family in text_string_to_metric_families(metrics.exposition().decode()) for sample in family.samples]
    return {f"{each.name} {' '.join(each.labels.values())}".strip().removeprefix("arcus_"): each.value for each in found}


async def test_everything_that_is_watched_shows_and_totals_are_added_once() -> None:
    registry = Registry.from_config([DummyDeny(name="no", type="dummy_deny")], [], [])
    stats = registry.stats("no")
    stats.chosen, stats.connected = 5, 3
    stats.failures["dns_failed"] += 2
    registry.queries()["system"].update(ok=4, cached=6)
    metrics, looked_at = Metrics(), watched(registry)
    gauges = Gauges(metrics, looked_at)
    gauges.sample()
    gauges.sample()
    looked_at.listeners[0].accepted = 8
    gauges.sample()
    registry.close()
    found = samples(metrics)
    expected = {
        "server_connections_active in http_proxy": 4,
        "server_connections_total in http_proxy": 8,
        "server_requests_active in": 2,
        "tenant_connections_active a": 1,
        "tenant_connections_active b": 0,
        "escaper_attempts_total no": 5,
        "escaper_established_total no": 3,
        "escaper_failures_total no dns_failed": 2,
        "survey_total looked": 2,
        "upstream_kept_waiting": 4,
        "upstream_kept_total kept": 5,
        "upstream_kept_total reused": 3,
        "upstream_kept_dropped_total idle": 1,
        "resolver_queries_total system ok": 4,
        "resolver_queries_total system cached": 6,
        "upstream_chains_total completed": 4,
        "revocation_total good ocsp": 6,
        "leaf_cache_entries": 2,
        "leaf_cache_total hit": 4,
        "leaf_cache_total miss": 2,
        "leaf_signed_total ecdsa": 1,
        "leaf_signed_total rsa": 1,
        "audit_spool_bytes": 500,
        "audit_spool_full": 1,
        "audit_spool_records_total": 9,
        "audit_spool_refused_total": 1,
        "icap_connections_active": 9,
        "icap_waiting": 9,
        "icap_service_state av": 3,
        "icap_service_state dlp": 2,
        "icap_service_connections_active av": 6,
        "icap_service_waiting dlp": 3,
        "icap_service_messages_total clean av": 4,
        "icap_service_failures_total icap_timeout av": 2,
        "icap_service_failures_total icap_timeout dlp": 1,
        "icap_service_retries_total av": 8,
        "icap_service_suspensions_total av": 10,
        "icap_service_probes_total ok dlp": 3,
        "bodies_held_bytes memory": 11,
        "bodies_held_bytes disk": 13,
        "bodies_spilled_total": 17,
        "bodies_refused_total": 19,
    }
    assert {name: found.get(name) for name in expected} == expected
