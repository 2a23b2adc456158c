"""The metrics of this process, and the sum of all processes.

``Metrics`` makes prometheus_client objects from the catalogue. Children are looked up in one dict, so that counting
costs the lookup and the write of eight bytes.
"""

import struct
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from appliance.telemetry.catalogue import CATALOGUE, Kind, Spec
from appliance.telemetry.multiprocess import metrics_directory, reading, reserve
from appliance.telemetry.tally import Tally

MAX_SERIES = 1000
OTHER = "other"
_LABEL_LENGTH = 64
_READ_TRIES = 5

type Child = Counter | Gauge | Histogram


class Metrics:
    """One for each process. ``max_series`` bounds the label sets of one metric: beyond it, values are counted as ``other``.

    An unknown name or a wrong number of labels raises KeyError or ValueError at the first use: a fault of the program.
    """

    def __init__(self, *, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._registry = CollectorRegistry()
        directory = metrics_directory()
        if directory is not None:
            reserve(directory, _prefixes())
        self._metrics: dict[str, Any] = {name: self._make(spec) for name, spec in CATALOGUE.items()}
        self._children: dict[tuple[str, ...], Any] = {}
        self._series: dict[str, int] = dict.fromkeys(CATALOGUE, 0)
        self._tallies: dict[tuple[str, ...], Tally] = {}

    def child(self, name: str, *labels: str) -> Any:
        """The metric with its label values bound, in the catalogue's order; always the same object. Keep it where it is hot."""
        key = (name, *labels)
        found = self._children.get(key)
        return found if found is not None else self._bind(name, labels)

    def tally(self, name: str, *labels: str) -> Tally:
        """Like ``child``, for the hot path: counts are added up in memory, and are seen after the next ``flush``."""
        found = self._tallies.get((name, *labels))
        return found if found is not None else self._bind_tally(name, labels)

    def flush(self) -> None:
        """Write what the tallies hold. Called with the heartbeat and at the end of the process: a crash loses two seconds."""
        for tally in self._tallies.values():
            tally.flush()

    def inc(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Add to a counter or a gauge."""
        self.child(name, *labels).inc(amount)

    def dec(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Take from a gauge."""
        self.child(name, *labels).dec(amount)

    def set(self, name: str, *labels: str, value: float) -> None:
        """Set a gauge."""
        self.child(name, *labels).set(value)

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Put a value, in seconds, into a histogram."""
        self.child(name, *labels).observe(value)

    def exposition(self) -> bytes:
        """All processes' metrics in Prometheus's text format; this process's alone, when ``telemetry.setup`` was not called."""
        self.flush()
        directory = metrics_directory()
        if directory is None:
            return bytes(generate_latest(self._registry))
        with reading(directory):
            return _read_all(str(directory))

    def _bind(self, name: str, labels: tuple[str, ...]) -> Any:
        metric = self._metrics[name]
        if len(labels) != len(CATALOGUE[name].labels):
            raise ValueError(f"{name} has labels {CATALOGUE[name].labels}, not {len(labels)} of them")
        if not labels:
            child = metric
        elif self._series[name] >= self._max_series:
            # not kept under its own key: the dict must not grow with it either
            return metric.labels(*[OTHER] * len(labels))
        else:
            self._series[name] += 1
            child = metric.labels(*[label[:_LABEL_LENGTH] for label in labels])
        self._children[name, *labels] = child
        return child

    def _bind_tally(self, name: str, labels: tuple[str, ...]) -> Tally:
        child = self.child(name, *labels)
        if (name, *labels) not in self._children:  # too many series: all of these share one
            labels = (OTHER,) * len(labels)
        return self._tallies.setdefault((name, *labels), Tally(child))

    def _make(self, spec: Spec) -> Child:
        if spec.kind is Kind.COUNTER:
            return Counter(spec.name, spec.about, spec.labels, registry=self._registry)
        if spec.kind is Kind.GAUGE:
            mode: Any = spec.mode
            return Gauge(spec.name, spec.about, spec.labels, registry=self._registry, multiprocess_mode=mode)
        return Histogram(spec.name, spec.about, spec.labels, registry=self._registry, buckets=spec.buckets)


def _prefixes() -> Iterator[str]:
    yield from ("counter", "histogram")
    yield from sorted({f"gauge_{spec.mode}" for spec in CATALOGUE.values() if spec.kind is Kind.GAUGE})


def _read_all(directory: str) -> bytes:
    """A process that starts at this moment may be making a file; then the read fails, and a second later it does not."""
    collector: Any = MultiProcessCollector
    for attempt in range(_READ_TRIES):
        registry = CollectorRegistry()
        collector(registry, directory)
        try:
            return bytes(generate_latest(registry))
        except (struct.error, RuntimeError, FileNotFoundError):
            if attempt == _READ_TRIES - 1:
                raise
    raise AssertionError("unreachable")
