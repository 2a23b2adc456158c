"""The graph of escapers, checked and drawn."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.config.graph import MAX_DEPTH, graph_problems, mermaid
from tests.appliance.config.base import changed, loads


def _chain(length: int) -> dict[str, tuple[str, ...]]:
    return {str(number): (str(number + 1),) if number + 1 < length else () for number in range(length)}


def test_t28_depth_at_the_limit() -> None:
    assert graph_problems(_chain(MAX_DEPTH)) == []
    assert len(graph_problems(_chain(MAX_DEPTH + 1))) == 1


def test_t28_a_cycle_is_told_as_its_path_once() -> None:
    edges = {"a": ("b",), "b": ("c", "d"), "c": ("a",), "d": ()}
    assert graph_problems(edges) == ["escapers go round in circles: a -> b -> c -> a"]


def test_cfg_12_unknown_target() -> None:
    assert graph_problems({"a": ("x",)}) == ["escaper 'a' leads to 'x', which is not defined"]


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=4).map(tuple), max_size=6))
def test_t28_no_problem_means_every_walk_ends(edges: dict[str, tuple[str, ...]]) -> None:
    if graph_problems(edges):
        return
    frontier = set(edges)
    for _ in range(MAX_DEPTH):
        frontier = {target for name in frontier for target in edges[name]}
    assert not frontier


def test_cfg_mermaid_has_every_node_and_no_raw_quote_of_a_pattern() -> None:
    text = mermaid(loads(changed(("exact_match: a.test", "regex_match: '\"|<b>'"))).config)
    assert text.startswith("flowchart LR\n")
    for part in (
        "http_proxy 127.0.0.1:8080",
        "tenant blue",
        "e2{{",
        "s0 --> t0",
        "t0 --> e2",
        "t1 --> e0",
        "otherwise",
        "blue: b.test",
    ):
        assert part in text
    assert '"#34;|#60;b#62;"' in text
