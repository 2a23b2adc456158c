"""Counters that are kept elsewhere and read now and then: what was added since the last reading goes into the metric."""

from appliance.telemetry.metrics import Metrics


class Totals:
    """For totals of plain integers on a hot path, where a look-up and a write into shared memory would be felt."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._seen: dict[tuple[str, ...], float] = {}

    def reach(self, name: str, *labels: str, total: float) -> None:
        """Bring a counter up to ``total``, counted from this object's beginning. A total that shrank changes nothing."""
        key = (name, *labels)
        added = total - self._seen.get(key, 0.0)
        if added > 0:
            self._seen[key] = total
            self._metrics.inc(name, *labels, amount=added)
