"""The last minutes of coverage (D3): what counts, for how long, and for whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.coverage_window import SLOTS, CoverageWindow, Seen

NOW = 1_700_000_000.0


def window(*, relayed: bool = False) -> CoverageWindow:
    return CoverageWindow(600.0, relayed=relayed)


@pytest.mark.parametrize(("relayed", "unscanned"), [(False, 30), (True, 30 + 500 + 7000)])
def test_d3_what_could_have_been_scanned(relayed: bool, unscanned: int) -> None:
    made = window(relayed=relayed)
    sizes = {
        "request: scanned": 10, "response: scanned": 60, "response: not_scanned too_large": 30, "response: spliced rule": 500,
        "request: undecryptable unknown_protocol": 7000, "response: blocked": 100_000, "response: own": 100_000,
    }  # fmt: skip
    made.add("a", NOW, sizes, NOW)
    assert made.seen(NOW) == {"a": Seen(70, unscanned)}


def test_d3_each_tenant_has_its_own() -> None:
    made = window()
    made.add("a", NOW, {"response: scanned": 1}, NOW)
    made.add("b", NOW, {"response: not_scanned streamed": 1}, NOW)
    assert {name: seen.share for name, seen in made.seen(NOW).items()} == {"a": 0.0, "b": 1.0}


def test_d3_what_is_older_than_the_window_is_forgotten_and_never_taken() -> None:
    made = window()
    made.add("a", NOW, {"response: scanned": 1}, NOW)
    assert made.seen(NOW + 600 - 600 / SLOTS)
    assert made.seen(NOW + 601) == {}
    made.add("a", NOW, {"response: scanned": 1}, NOW + 700)
    assert made.seen(NOW + 700) == {}


@pytest.mark.parametrize("name", ["", "x", "response: ", "response: nothing", "scanned", ": :"])
@pytest.mark.parametrize("size", [5, -1, True, "5", None])
def test_d3_what_is_no_count_is_passed_over(name: str, size: object) -> None:
    made = window()
    made.add("a", NOW, {name: size, "response: scanned": size if size != 5 else 0}, NOW)
    assert made.seen(NOW) == {}


@given(st.lists(st.tuples(st.floats(0, 1200), st.integers(1, 1000)), max_size=50))
def test_d3_the_sum_is_that_of_what_is_not_older_to_within_a_slot(found: list[tuple[float, int]]) -> None:
    made = window()
    for age, size in found:
        made.add("a", NOW - age, {"response: scanned": size}, NOW)
    slot = 600 / SLOTS
    scanned = made.seen(NOW).get("a", Seen(0, 0)).scanned
    assert sum(size for age, size in found if age <= 600 - slot) <= scanned <= sum(size for age, size in found if age <= 600)
