"""The alarm when too little of a tenant's traffic is scanned: fed by the drain, told by the admin process's health."""

import threading
from collections.abc import Mapping

from appliance.audit.sinks.base import Sink
from appliance.audit.sinks.coverage_alarm import CoverageAlarmSink
from appliance.config.coverage_alarm import CoverageAlarm
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.domain.coverage_window import CoverageWindow, Seen
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics


class CoverageWatch:
    """The drain writes from a thread of its own."""

    def __init__(self, config: AppConfig, clock: Clock) -> None:
        self._alarm = alarm = config.coverage_alarm
        self._clock = clock
        self._tenants = [tenant.tenant_id for tenant in config.tenant]
        self._window = CoverageWindow(alarm.window, relayed=alarm.of == "everything") if alarm is not None else None
        self._lock = threading.Lock()

    def sinks(self) -> list[Sink]:
        return [CoverageAlarmSink(self._take)] if self._window is not None else []

    def _take(self, tenant: str, at: float, sizes: Mapping[str, object]) -> None:
        if self._window is not None:
            with self._lock:
                self._window.add(tenant, at, sizes, self._clock.now())

    def sample(self, metrics: Metrics, health: HealthWriter) -> None:
        """For the heartbeat."""
        if self._window is None or self._alarm is None:
            return
        with self._lock:
            seen = self._window.seen(self._clock.now())
        for tenant in self._tenants:
            metrics.set("arcus_unscanned_share", tenant, value=round(seen.get(tenant, Seen(0, 0)).share, 4))
        told = alarms(self._alarm, {tenant: seen[tenant] for tenant in self._tenants if tenant in seen})
        health.set("coverage", State.DEGRADED if told else State.OK, "; ".join(told))


def alarms(alarm: CoverageAlarm, seen: Mapping[str, Seen]) -> list[str]:
    """A sentence for each tenant of which too little was scanned, the worst first."""
    found = [(each.share, tenant, each) for tenant, each in seen.items() if each.share > alarm.above]
    return [
        f"{tenant}: {share:.0%} of {_size(each.scanned + each.unscanned)} not scanned, limit {alarm.above:.0%}"
        for share, tenant, each in sorted(found, key=lambda item: (-item[0], item[1]))
        if each.unscanned >= alarm.least
    ]


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} KB"
