"""ICAP services as metrics, by name. Services of one name (an URI that two auditors give) are added up."""

from collections import Counter, defaultdict
from typing import Final

from appliance.telemetry.metrics import Metrics
from appliance.telemetry.totals import Totals
from icap.client import IcapService
from icap.client.standing import State

RANK: Final = {State.UP: 0, State.UNKNOWN: 1, State.SUSPENDED: 2, State.DOWN: 3}


class Services:
    """One reading of all services."""

    def __init__(self) -> None:
        self._states: dict[str, int] = defaultdict(int)
        self._gauges: Counter[tuple[str, str]] = Counter()
        self._totals: Counter[tuple[str, ...]] = Counter()

    def add(self, service: IcapService) -> None:
        name, stats = service.name, service.stats
        self._states[name] = max(self._states[name], RANK[service.standing.state])
        self._gauges["arcus_icap_service_connections_active", name] += stats.busy + stats.idle
        self._gauges["arcus_icap_service_waiting", name] += stats.waiting
        self._totals["arcus_icap_service_suspensions_total", name] += stats.suspensions
        self._totals["arcus_icap_service_retries_total", name] += stats.retries
        for metric, counted in (
            ("arcus_icap_service_messages_total", stats.outcomes),
            ("arcus_icap_service_failures_total", stats.errors),
            ("arcus_icap_service_probes_total", stats.probes),
        ):
            for word, total in counted.items():
                self._totals[metric, name, word] += total

    def show(self, metrics: Metrics, totals: Totals) -> None:
        for name, state in self._states.items():
            metrics.set("arcus_icap_service_state", name, value=state)
        for (metric, name), value in self._gauges.items():
            metrics.set(metric, name, value=value)
        for (metric, *labels), total in self._totals.items():
            totals.reach(metric, *labels, total=total)
