from hypothesis import given
from hypothesis import strategies as st

from appliance.telemetry.metrics import Metrics
from appliance.telemetry.totals import Totals

NAME = "arcus_limits_total"


def value(metrics: Metrics, label: str) -> float:
    found: float = metrics.child(NAME, label)._value.get()
    return found


@given(st.lists(st.integers(0, 50), max_size=20))
def test_the_counter_stands_at_the_highest_total_seen(readings: list[int]) -> None:
    metrics = Metrics()
    totals = Totals(metrics)
    for total in readings:
        totals.reach(NAME, "a", total=total)
    assert value(metrics, "a") == max(readings, default=0)


def test_labels_are_counted_apart_and_others_may_add() -> None:
    metrics = Metrics()
    totals = Totals(metrics)
    metrics.inc(NAME, "a", amount=10)
    totals.reach(NAME, "a", total=2)
    totals.reach(NAME, "b", total=3)
    totals.reach(NAME, "a", total=2)
    assert (value(metrics, "a"), value(metrics, "b")) == (12, 3)
