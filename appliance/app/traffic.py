"""What happened, counted: the worker's events as metrics."""

import logging
import time
from collections.abc import Callable, Mapping

from addons.finish import Count
from appliance.audit.outcome import action_of, event_type_of
from appliance.domain.coverage import coverage, parse
from appliance.domain.notes import ConnNotes, EscapeNotes, TaskNotes
from appliance.domain.reason import Reason, Source
from appliance.domain.tls_failure import failure_of
from appliance.domain.verdict import ScanVerdict
from appliance.telemetry.metrics import Metrics
from icap.client import ServiceEvent

logger = logging.getLogger(__name__)

_ICAP_LEVELS = {"up": logging.INFO, "healthy": logging.INFO, "suspended": logging.WARNING, "down": logging.WARNING}
STEPS_EVERY = 16
"""A task has some six steps, and a histogram costs more than all its other metrics: one task in sixteen is enough."""
_OTHER_LIMITS = frozenset(
    {
        Reason.RATE_LIMITED, Reason.RESOURCE_EXHAUSTED, Reason.BODY_TOO_LARGE, Reason.UPSTREAM_TIMEOUT,
        Reason.UPSTREAM_HEADER_TOO_LARGE,
    }
)  # fmt: skip


class Traffic:
    """``server_types``: each listener's type, by name.

    What every task counts is tallied (``Metrics.tally``); refusals are few, and written at once: a crash must not lose them.
    """

    def __init__(self, metrics: Metrics, server_types: Mapping[str, str]) -> None:
        self._metrics = metrics
        self._types = server_types
        self._tasks = 0

    def task(self, notes: TaskNotes) -> None:
        """One task ended."""
        tally, server = self._metrics.tally, notes.conn.client.server
        tally("arcus_server_requests_total", server, self._types.get(server, "")).inc()
        tally("arcus_server_response_seconds", server).observe(max(0.0, (notes.ended or time.time()) - notes.started))
        if notes.decision is not None:
            tally("arcus_policy_decisions_total", notes.decision.action.value, notes.decision.level or "none").inc()
            self._would("access", notes.decision.would)
        for text in notes.mismatches:
            tally("arcus_name_mismatches_total", text.partition(":")[0]).inc()
        for text in notes.not_scanned:
            tally("arcus_icap_not_scanned_total", text.rpartition(": ")[2]).inc()
        self._tenant(notes)
        if notes.reason is not Reason.OK:
            tally("arcus_server_errors_total", notes.reason.word, notes.reason.source.value).inc()
        if (failed := failure_of(notes)) is not None:
            tally("arcus_tls_failures_total", failed.side, failed.category.value).inc()
        self._tasks += 1
        if self._tasks % STEPS_EVERY == 1:
            self._steps(notes)

    def _tenant(self, notes: TaskNotes) -> None:
        tally, tenant = self._metrics.tally, notes.conn.tenant or "none"
        tally("arcus_tenant_requests_total", tenant, action_of(notes)).inc()
        if notes.request_bytes:
            tally("arcus_tenant_bytes_total", tenant, "in").inc(notes.request_bytes)
        if notes.response_bytes:
            tally("arcus_tenant_bytes_total", tenant, "out").inc(notes.response_bytes)
        for name, size in coverage(notes).items():
            direction, bucket, why = parse(name)
            tally("arcus_inspected_bytes_total", tenant, direction, bucket.word, why).inc(size)
        if event_type_of(notes) == "block":
            tally("arcus_tenant_blocked_total", tenant, notes.reason.word).inc()

    def _steps(self, notes: TaskNotes) -> None:
        for step, ms in notes.steps.items():
            self._metrics.tally("arcus_server_step_seconds", step).observe(ms / 1000)

    def connection(self, conn: ConnNotes) -> None:
        """One client connection ended."""
        tally, server = self._metrics.tally, conn.client.server
        tally("arcus_server_bytes_total", server, "in").inc(conn.bytes_in)
        tally("arcus_server_bytes_total", server, "out").inc(conn.bytes_out)
        for text in conn.mismatches:
            tally("arcus_name_mismatches_total", text.partition(":")[0]).inc()
        if conn.tls_decision is not None:
            tally("arcus_tls_decisions_total", conn.tls_decision.action.value).inc()
            self._would("decrypt", conn.tls_decision.would)

    def _would(self, policy: str, would: tuple[str, ...]) -> None:
        for text in would:
            rule, _, action = text.rpartition(": ")
            self._metrics.inc("arcus_monitored_total", policy, rule, action)

    def handshake(self, side: str, reason: Reason, seconds: float) -> None:
        """One TLS handshake ended; only those that succeeded have a time worth a histogram."""
        self._metrics.tally("arcus_tls_handshakes_total", side, reason.word).inc()
        if reason is Reason.OK:
            self._metrics.tally("arcus_tls_handshake_seconds", side).observe(max(0.0, seconds))

    def session(self, side: str, resumed: bool) -> None:
        """One TLS handshake succeeded."""
        self._metrics.tally("arcus_tls_sessions_total", side, "resumed" if resumed else "full").inc()

    def connected(self, notes: EscapeNotes) -> None:
        """A way out was made."""
        if notes.path and "connect" in notes.ms:
            self._metrics.tally("arcus_escaper_connect_seconds", notes.path[-1]).observe(notes.ms["connect"] / 1000)

    def authenticated(self, reason: Reason) -> None:
        """Credentials were checked, or asked for."""
        self._metrics.inc("arcus_auth_total", reason.word)

    def scan(self, verdict: ScanVerdict) -> None:
        """One ICAP transaction ended, or was saved by a verdict that was kept."""
        if verdict.cached:
            return
        tally = self._metrics.tally
        tally("arcus_icap_transactions_total", verdict.method, verdict.outcome.value).inc()
        tally("arcus_icap_seconds", verdict.method).observe(verdict.ms / 1000)
        tally("arcus_icap_bytes_total", verdict.method).inc(verdict.size)
        if verdict.reason is not Reason.OK:
            tally("arcus_icap_errors_total", verdict.reason.word).inc()

    def icap_event(self, event: ServiceEvent) -> None:
        """A service came up, or is not used for a while."""
        if (level := _ICAP_LEVELS.get(event.kind)) is not None:
            logger.log(level, "ICAP service", extra={"service": event.service, "state": event.kind, "detail": event.detail})
        if event.kind == "suspended":
            self._metrics.inc("arcus_icap_errors_total", "suspended")

    def limit(self, reason: Reason) -> None:
        """A connection or a message was stopped; counted here when a limit did it, and not a decision or the other side."""
        by_client = reason.source is Source.CLIENT and reason is not Reason.CLIENT_CLOSED
        if by_client or reason in _OTHER_LIMITS:
            self._metrics.inc("arcus_limits_total", reason.word)

    def refused(self, server: str) -> Callable[[str, Reason], None]:
        """Counts connections closed before a byte was parsed; they have no audit record, or a flood would fill the log."""

        def count(_ip: str, reason: Reason) -> None:
            self._metrics.inc("arcus_server_connections_refused_total", server, reason.word)

        return count


def both(first: Count, second: Count) -> Count:
    """Tell two of each finished task."""

    def tell(notes: TaskNotes) -> None:
        first(notes)
        second(notes)

    return tell
