"""Every metric, once: name, kind, labels and meaning. docs/metrics.md is made from this table, and a test compares them.

No label holds anything that a client chooses: no host, path, user or address. Values come from the configuration or
from enums, so the number of series is bounded by the configuration.
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    """Also what other systems call a timer; all are in seconds."""


@dataclass(frozen=True, slots=True)
class Spec:
    """``mode``: how a gauge's values from several processes become one (prometheus_client's multiprocess modes)."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    about: str
    mode: str = "livesum"
    buckets: tuple[float, ...] = ()


FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

SERVER = (
    Spec("arcus_server_connections_total", _C, ("server", "server_type"), "Connections accepted."),
    Spec("arcus_server_connections_active", _G, ("server", "server_type"), "Connections open."),
    Spec("arcus_server_connections_refused_total", _C, ("server", "reason"), "Client connections closed before parsing."),
    Spec("arcus_server_requests_total", _C, ("server", "server_type"), "Tasks ended: requests, tunnels, failures."),
    Spec("arcus_server_requests_active", _G, ("server",), "Tasks under way."),
    Spec("arcus_server_errors_total", _C, ("reason", "source"), "Tasks not ended with `ok`, and who caused it."),
    Spec("arcus_server_response_seconds", _H, ("server",), "From the start of a task to its end.", buckets=SLOW),
    Spec("arcus_server_step_seconds", _H, ("step",), "Time in each step of a task; of every 16th task.", buckets=SLOW),
    Spec("arcus_server_bytes_total", _C, ("server", "direction"), "Bytes with clients, `in` or `out`, added at their end."),
)

TENANT = (
    Spec("arcus_tenant_connections_active", _G, ("tenant",), "Client connections open."),
    Spec("arcus_tenant_requests_total", _C, ("tenant", "action"), "Tasks ended, by action."),
    Spec("arcus_tenant_blocked_total", _C, ("tenant", "reason"), "Tasks blocked, by reason."),
    Spec("arcus_tenant_bytes_total", _C, ("tenant", "direction"), "Body bytes; direction is `in` (from clients) or `out`."),
    Spec(
        "arcus_inspected_bytes_total",
        _C,
        ("tenant", "direction", "bucket", "why"),
        "The same bytes by what became of them: `scanned`, `not_scanned`, `spliced`, `undecryptable`, `blocked`, `own`; "
        "docs/coverage.md has the words of `why`.",
    ),
    Spec("arcus_unscanned_share", _G, ("tenant",), "Of the bytes that `coverage_alarm` looks at, the unscanned part."),
)

TLS = (
    Spec("arcus_tls_decisions_total", _C, ("action",), "Decisions on TLS connections: intercept, splice, block."),
    Spec("arcus_tls_handshakes_total", _C, ("side", "result"), "Handshakes, by side `client` or `server`; `ok` or a reason."),
    Spec("arcus_tls_handshake_seconds", _H, ("side",), "Time of a handshake.", buckets=FAST),
    Spec("arcus_tls_sessions_total", _C, ("side", "kind"), "Handshakes that succeeded, by side: `resumed` or `full`."),
    Spec("arcus_tls_failures_total", _C, ("side", "category"), "Tasks that a failure of TLS ended, by side and category."),
    Spec("arcus_ca_expiry_timestamp_seconds", _G, ("ca", "generation"), "When a CA, or a CA above it, ends.", mode="livemax"),
    Spec("arcus_exclusions_active", _G, (), "Exclusions that hold because they were learned or added by a person."),
    Spec(
        "arcus_file_unreadable",
        _G,
        ("file",),
        "1 while a file between our processes cannot be read (`exclusions`, `ca_ready`, `revoked`); what it said before holds.",
    ),
    Spec("arcus_upstream_chains_total", _C, ("result",), "Chains that servers did not send whole: `completed` or `failed`."),
    Spec("arcus_revocation_total", _C, ("way", "result"), "Certificates asked about, by `ocsp` or `crl`."),
    Spec("arcus_ca_clients", _G, ("ca", "state"), "Clients of a CA with a next one: `ready` or `missing`.", mode="livemax"),
    Spec("arcus_leaf_cache_total", _C, ("result",), "Asked for a leaf certificate: `hit` or `miss`."),
    Spec("arcus_leaf_cache_entries", _G, (), "Leaf certificates in memory."),
    Spec("arcus_leaf_signed_total", _C, ("key",), "Leaf certificates signed, by kind of key: `ecdsa` or `rsa`."),
    Spec("arcus_upstream_kept_waiting", _G, (), "Connections to servers that wait for their client's next connection."),
    Spec(
        "arcus_upstream_kept_total",
        _C,
        ("event",),
        "Connections to servers that were `kept` or `reused`, and requests `repeated` as the server had closed one.",
    ),
    Spec(
        "arcus_upstream_kept_dropped_total",
        _C,
        ("cause",),
        "Kept connections closed unused: `idle`, `age`, `certificate` (its end), `server` (closed it, or said something), "
        "`evicted` (by a limit), `way` (another way out now), `refused` (its server was, since), `leaving`.",
    ),
    Spec("arcus_survey_total", _C, ("result",), "Looks at a server before a decision: `looked`, `hit` (known), `joined`."),
)

SIGNER = (
    Spec("arcus_signer_questions_total", _C, ("kind", "result"), "Questions of workers to the signer: `ok` or a reason."),
    Spec("arcus_signer_seconds", _H, ("kind",), "From a worker's question to the signer's answer.", buckets=FAST),
    Spec("arcus_signer_leaves_total", _C, ("result",), "Leaves given by the signer: `made`, `joined` or `remembered`."),
    Spec("arcus_signer_remembered", _G, (), "Leaves that the signer remembers."),
    Spec("arcus_signer_connections_active", _G, (), "Connections of workers to the signer."),
)

SHARED = (
    Spec("arcus_leaf_shared_total", _C, ("result",), "Questions to the shared tier: hit, waited, miss, rejected, away."),
    Spec("arcus_redis_operations_total", _C, ("operation", "result"), "Operations on Redis: `ok`, or the kind of failure."),
    Spec("arcus_redis_seconds", _H, ("operation",), "Time of an operation that succeeded.", buckets=FAST),
    Spec("arcus_redis_away", _G, (), "1 while Redis does not answer some worker in time.", mode="livemax"),
)

DECISIONS = (
    Spec(
        "arcus_monitored_total",
        _C,
        ("policy", "rule", "action"),
        "What rules in monitor mode would have done, by `access` or `decrypt`.",
    ),
    Spec("arcus_policy_decisions_total", _C, ("action", "level"), "Decisions of the access policy."),
    Spec("arcus_name_mismatches_total", _C, ("kind",), "Names of connections that do not agree: sni, host, reuse, address."),
    Spec("arcus_auth_total", _C, ("result",), "Proxy authentications: `ok` or a reason; without credentials `auth_required`."),
    Spec("arcus_limits_total", _C, ("limit",), "Clients stopped by a limit of size, number, time or grammar, by reason word."),
)

ICAP = (
    Spec("arcus_icap_transactions_total", _C, ("method", "outcome"), "ICAP transactions as a client."),
    Spec("arcus_icap_seconds", _H, ("method",), "Time of an ICAP transaction.", buckets=SLOW),
    Spec("arcus_icap_bytes_total", _C, ("method",), "Body bytes given to ICAP services."),
    Spec("arcus_icap_errors_total", _C, ("reason",), "ICAP transactions that failed."),
    Spec("arcus_icap_connections_active", _G, (), "Connections to ICAP services."),
    Spec("arcus_icap_waiting", _G, (), "Transactions that wait for a connection."),
    Spec(
        "arcus_icap_service_state",
        _G,
        ("service",),
        "How a service stands in the worker where it stands worst: 0 up, 1 not checked yet, 2 suspended, 3 down.",
        mode="livemax",
    ),
    Spec("arcus_icap_service_connections_active", _G, ("service",), "Connections to a service."),
    Spec("arcus_icap_service_waiting", _G, ("service",), "Messages that wait for a connection to a service."),
    Spec(
        "arcus_icap_service_messages_total", _C, ("service", "outcome"), "Messages given to a service, test messages included."
    ),
    Spec("arcus_icap_service_failures_total", _C, ("service", "reason"), "Messages that a service could not judge."),
    Spec("arcus_icap_service_retries_total", _C, ("service",), "Messages sent again because a kept connection was closed."),
    Spec("arcus_icap_service_suspensions_total", _C, ("service",), "Times that failures suspended a service."),
    Spec("arcus_icap_service_probes_total", _C, ("service", "result"), "Checks by test messages: `ok` or a reason."),
    Spec(
        "arcus_verdict_cache_total",
        _C,
        ("result",),
        "Bodies looked up: hit, joined, shared, miss, unknown.",
    ),
    Spec("arcus_verdict_cache_entries", _G, (), "Verdicts kept in memory."),
    Spec("arcus_icap_not_scanned_total", _C, ("why",), "Bodies passed without a scan, on purpose."),
    Spec("arcus_bodies_held_bytes", _G, ("where",), "Body bytes that wait for a scan or for who takes them: memory, disk."),
    Spec("arcus_downloads_held", _G, ("state",), "Downloads that wait on a page (`patience`): receiving, scanning, ready."),
    Spec("arcus_bodies_spilled_total", _C, (), "Bodies that went to disk."),
    Spec("arcus_bodies_refused_total", _C, (), "Bodies that found no room in memory or on disk."),
    Spec(
        "arcus_quarantine_bodies_total",
        _C,
        ("result",),
        "Infected bodies: kept, again, too_large, incomplete, busy, full, failed.",
    ),
    Spec("arcus_quarantine_items", _G, ("tenant",), "Bodies in a tenant's quarantine.", mode="livemax"),
    Spec("arcus_quarantine_size_bytes", _G, ("tenant",), "Bytes that they take on disk.", mode="livemax"),
    Spec("arcus_quarantine_removed_total", _C, ("why",), "Bodies deleted by the limits: expired, displaced."),
    Spec("arcus_retro_alerts_total", _C, ("tenant",), "Alerts on bodies that were delivered and found bad afterwards."),
    Spec(
        "arcus_retro_samples_total",
        _C,
        ("result",),
        "Bodies to be kept as samples: kept, again, too_large, busy, full, failed.",
    ),
    Spec(
        "arcus_retro_judged_total",
        _C,
        ("tenant", "result"),
        "Samples judged again: clean, bad, failed (there was no verdict), lost (the sample is gone).",
    ),
    Spec(
        "arcus_retro_bodies",
        _G,
        ("tenant", "what"),
        "Bodies that were delivered, by hash: `known`; of these `bad`; `without_sample`, which no scanner can judge again; "
        "`waiting` to be judged again.",
        mode="livemax",
    ),
    Spec("arcus_icap_server_connections_active", _G, (), "Connections to our ICAP server."),
    Spec("arcus_icap_server_requests_total", _C, ("method", "status"), "Requests to our ICAP server."),
    Spec("arcus_icap_server_scans_total", _C, ("result",), "Scans by our ICAP server: clean, infected, error."),
    Spec("arcus_icap_server_scan_seconds", _H, (), "Time of a scan.", buckets=SLOW),
)

ESCAPER = (
    Spec("arcus_escaper_attempts_total", _C, ("escaper",), "Connects tried."),
    Spec("arcus_escaper_established_total", _C, ("escaper",), "Connects that succeeded."),
    Spec("arcus_escaper_failures_total", _C, ("escaper", "reason"), "Connects that failed."),
    Spec("arcus_escaper_connect_seconds", _H, ("escaper",), "Time of a connect.", buckets=FAST),
    Spec("arcus_resolver_queries_total", _C, ("resolver", "result"), "Name resolutions: `ok`, `cached`, `failed`."),
)

AUDIT = (
    Spec("arcus_audit_spool_records_total", _C, (), "Records written to the spool."),
    Spec("arcus_audit_spool_refused_total", _C, (), "Records that found no room; their tasks were not released."),
    Spec("arcus_audit_spool_bytes", _G, (), "Bytes in the spool.", mode="livemax"),
    Spec("arcus_audit_spool_full", _G, (), "1 while new tasks are refused for want of room.", mode="livemax"),
    Spec("arcus_audit_sink_events_total", _C, ("sink",), "Events stored by a sink."),
    Spec("arcus_audit_sink_errors_total", _C, ("sink",), "Batches that a sink did not take; they are offered again."),
    Spec("arcus_audit_sink_rejected_total", _C, ("sink",), "Lines that are no event and were passed over."),
    Spec("arcus_audit_sink_lag_bytes", _G, ("sink",), "Bytes in the spool that the sink does not have yet.", mode="livemax"),
)

PROCESS = (
    Spec("arcus_worker_restarts_total", _C, ("process",), "Processes restarted because they ended unasked."),
    Spec("arcus_process_resident_bytes", _G, ("process",), "Resident memory of a process."),
    Spec("arcus_event_loop_lag_seconds", _G, (), "How late the event loop was at worst, of late.", mode="livemax"),
    Spec("arcus_config_loaded_timestamp_seconds", _G, (), "When the running configuration was loaded.", mode="livemax"),
    Spec("arcus_config_generation", _G, (), "How many configurations have run since the start.", mode="livemax"),
    Spec("arcus_config_reloads_total", _C, ("outcome",), "Reloads: `ok`, `failed`, or `busy` while another was under way."),
    Spec("arcus_health_state", _G, ("component",), "0 ok, 1 degraded, 2 unhealthy.", mode="livemax"),
)

CATALOGUE: dict[str, Spec] = {
    spec.name: spec for spec in (*SERVER, *TENANT, *TLS, *SIGNER, *SHARED, *DECISIONS, *ICAP, *ESCAPER, *AUDIT, *PROCESS)
}


def markdown() -> str:
    """The table of docs/metrics.md."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for spec in CATALOGUE.values():
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        rows.append(f"| `{spec.name}` | {spec.kind.value} | {labels} | {spec.about} |")
    return "\n".join(rows) + "\n"
