import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.domain.reason import Reason
from appliance.telemetry.catalogue import CATALOGUE, Kind
from appliance.telemetry.loop import watch_loop
from appliance.telemetry.metrics import OTHER, Metrics
from appliance.telemetry.reference import renewed

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def test_every_metric_is_documented() -> None:
    written = DOCS.read_text()
    assert written == renewed(written), "run: python -m appliance.telemetry.reference docs/metrics.md"
    rows = [line.split("`")[1] for line in written.splitlines() if line.startswith("| `")]
    assert rows == list(CATALOGUE), "each metric once, and nothing below the table"


def test_every_metric_is_written_somewhere() -> None:
    root = Path(__file__).parents[3]
    files = [path for top in ("appliance", "addons", "certs", "icap") for path in (root / top).rglob("*.py")]
    text = "\n".join(path.read_text() for path in files if path.name != "catalogue.py")
    assert [name for name in CATALOGUE if f'"{name}"' not in text] == []


def test_met_07_the_exposition_is_valid_and_types_are_right(metrics: Metrics) -> None:
    for spec in CATALOGUE.values():
        child = metrics.child(spec.name, *["x"] * len(spec.labels))
        child.observe(0.3) if spec.kind is Kind.HISTOGRAM else child.inc()
    families = {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}
    for spec in CATALOGUE.values():
        family = families[spec.name.removesuffix("_total") if spec.kind is Kind.COUNTER else spec.name]
        assert family.type == spec.kind.value
        assert family.documentation == spec.about
        assert {tuple(sorted(set(sample.labels) - {"le"})) for sample in family.samples} == {tuple(sorted(spec.labels))}


def test_names_follow_the_conventions() -> None:
    for spec in CATALOGUE.values():
        assert spec.name.startswith("arcus_")
        assert spec.name.endswith("_total") == (spec.kind is Kind.COUNTER), spec.name
        assert spec.name.endswith("_seconds") == (spec.kind is Kind.HISTOGRAM) or spec.kind is Kind.GAUGE, spec.name
        assert bool(spec.buckets) == (spec.kind is Kind.HISTOGRAM)


def test_met_10_no_label_holds_what_a_client_chooses() -> None:
    labels = {label for spec in CATALOGUE.values() for label in spec.labels}
    assert not labels & {"host", "path", "url", "user", "ip", "client", "method_name", "user_agent", "pid"}


def test_met_10_series_are_bounded(metrics: Metrics) -> None:
    small = Metrics(max_series=3)
    for number in range(100):
        small.inc("arcus_limits_total", f"limit-{number}")
    found = {labels[0][1]: value for (name, labels), value in samples(small).items() if name == "arcus_limits_total"}
    assert found == {"limit-0": 1, "limit-1": 1, "limit-2": 1, OTHER: 97}
    assert len(small._children) == 3
    small.inc("arcus_limits_total", "limit-0")
    assert samples(small)["arcus_limits_total", (("limit", "limit-0"),)] == 2


def test_met_04_errors_are_counted_by_reason_and_source(metrics: Metrics) -> None:
    for reason in Reason:
        if reason is not Reason.OK:
            metrics.inc("arcus_server_errors_total", reason.word, reason.source.value)
    found = [value for (name, _), value in samples(metrics).items() if name == "arcus_server_errors_total"]
    assert found == [1.0] * (len(Reason) - 1)


def test_a_gauge_goes_up_and_down(metrics: Metrics) -> None:
    metrics.inc("arcus_server_requests_active", "in", amount=3)
    metrics.dec("arcus_server_requests_active", "in")
    assert samples(metrics)["arcus_server_requests_active", (("server", "in"),)] == 2
    metrics.set("arcus_server_requests_active", "in", value=9)
    assert samples(metrics)["arcus_server_requests_active", (("server", "in"),)] == 9


def test_a_child_is_always_the_same(metrics: Metrics) -> None:
    assert metrics.child("arcus_limits_total", "a") is metrics.child("arcus_limits_total", "a")
    assert metrics.child("arcus_leaf_cache_entries") is metrics.child("arcus_leaf_cache_entries")


def test_labels_are_cut_and_escaped(metrics: Metrics) -> None:
    metrics.inc("arcus_limits_total", "x" * 1000)
    metrics.inc("arcus_limits_total", 'a"\n\\b')
    labels = {labels[0][1] for (name, labels) in samples(metrics) if name == "arcus_limits_total"}
    assert labels == {"x" * 64, 'a"\n\\b'}


def test_mistakes_of_the_program_are_loud(metrics: Metrics) -> None:
    with pytest.raises(KeyError):
        metrics.inc("arcus_no_such_total")
    with pytest.raises(ValueError, match="labels"):
        metrics.inc("arcus_limits_total")
    with pytest.raises(ValueError, match="labels"):
        metrics.inc("arcus_limits_total", "a", "b")


async def test_the_lag_of_the_event_loop_is_seen(metrics: Metrics) -> None:
    watcher = asyncio.create_task(watch_loop(metrics, interval=0.02, samples=1))
    await asyncio.sleep(0)

    def block() -> None:
        import time

        time.sleep(0.2)

    block()
    gauge = metrics.child("arcus_event_loop_lag_seconds")
    seen = 0.0
    for _ in range(1000):
        await asyncio.sleep(0.001)
        seen = max(seen, gauge._value.get())
        if seen:
            break
    watcher.cancel()
    assert seen >= 0.15
