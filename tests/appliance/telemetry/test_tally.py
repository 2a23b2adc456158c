"""Tallies: what is added up in memory is the same, after a flush, as what is written at once."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from appliance.telemetry.metrics import OTHER, Metrics

SECONDS = st.lists(st.floats(0, 1000, allow_nan=False), max_size=30)


def samples(metrics: Metrics, prefix: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    found = (sample for family in families for sample in family.samples if sample.name.startswith(prefix))
    return {(each.name, *each.labels.values()): each.value for each in found if not each.name.endswith("_created")}


@given(SECONDS, SECONDS)
def test_a_tally_gives_the_histogram_that_single_observations_give(first: list[float], second: list[float]) -> None:
    tallied, single = Metrics(), Metrics()
    tallied.child("arcus_server_response_seconds", "a")
    single.child("arcus_server_response_seconds", "a")
    for values in (first, second):
        for value in values:
            tallied.tally("arcus_server_response_seconds", "a").observe(value)
            single.observe("arcus_server_response_seconds", "a", value=value)
        tallied.flush()
    one, other = samples(tallied, "arcus_server_response_seconds"), samples(single, "arcus_server_response_seconds")
    assert one.keys() == other.keys()
    assert all(abs(one[key] - other[key]) <= 1e-9 * max(1.0, other[key]) for key in one)


def test_a_tally_is_seen_after_a_flush_and_once() -> None:
    metrics = Metrics()
    metrics.tally("arcus_auth_total", "ok").inc(3)
    assert metrics.child("arcus_auth_total", "ok")._value.get() == 0
    metrics.flush()
    metrics.flush()
    assert metrics.child("arcus_auth_total", "ok")._value.get() == 3


def test_an_observation_of_zero_seconds_counts() -> None:
    metrics = Metrics()
    metrics.tally("arcus_server_response_seconds", "a").observe(0.0)
    assert samples(metrics, "arcus_server_response_seconds_count") == {("arcus_server_response_seconds_count", "a"): 1}


def test_tallies_beyond_the_bound_share_one() -> None:
    metrics = Metrics(max_series=2)
    for number in range(5):
        metrics.tally("arcus_auth_total", f"reason-{number}").inc()
    assert samples(metrics, "arcus_auth_total")[("arcus_auth_total", OTHER)] == 3
    assert len(metrics._tallies) == 3
