"""ESC-01, ESC-02, ESC-19, ESC-30, T28: the graph, the pure choice, the counters."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.escaper import Escaper
from appliance.config.graph import MAX_DEPTH, escaper_edges, graph_problems
from appliance.domain.errors import ConfigError, PolicyError
from appliance.domain.notes import EscapeNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.registry import Registry
from tests.appliance.egress.ways import close, closed_port, dialer, node, origin, registry, resolver, wish


def route(name: str, *targets: str, **fields: Any) -> Escaper:
    *rules, fallback = targets
    children = [{"child_match": f"{target}.test", "next": target} for target in rules]
    return node(name, "route_upstream", rules=children, fallback_next=fallback, **fields)


def chain(length: int) -> list[Escaper]:
    """Routers r1 to r(length-1), then a leaf: ``length`` escapers on one path."""
    names = [*(f"r{index}" for index in range(1, length)), "leaf"]
    return [*(route(name, follower) for name, follower in pairwise(names)), node("leaf", "dummy_deny")]


def problems(*nodes: Escaper, **fields: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        registry(*nodes, **fields)
    return [str(problem) for problem in caught.value.problems]


def test_t28_a_cycle_is_refused_with_its_path() -> None:
    found = problems(route("a", "b"), route("b", "leaf", "c"), route("c", "a"), node("leaf", "dummy_deny"))
    assert found == ["escaper: escapers go round in circles: a -> b -> c -> a"]


def test_t28_an_escaper_that_leads_to_itself_is_refused() -> None:
    assert problems(route("a", "a")) == ["escaper: escapers go round in circles: a -> a"]


def test_t28_depth_is_bounded() -> None:
    built = registry(*chain(MAX_DEPTH))
    assert len(built.choose("r1", wish("x.test")).path) == MAX_DEPTH
    built.close()
    assert any(f"more than {MAX_DEPTH}" in text for text in problems(*chain(MAX_DEPTH + 1)))


def test_t28_the_choice_is_bounded_even_if_the_check_was_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.egress.registry.graph_problems", lambda edges: [])
    built = registry(route("a", "b"), route("b", "a"))
    with pytest.raises(PolicyError) as caught:
        built.choose("a", wish("x.test"))
    assert caught.value.reason is Reason.NO_ESCAPER
    assert built.wanted("a", wish("x.test")) is None
    built.close()


def test_names_must_resolve() -> None:
    assert problems(route("a", "b")) == ["escaper: escaper 'a' leads to 'b', which is not defined"]
    assert problems(node("d", "direct_fixed", resolver="dns")) == ["escaper.d.resolver: resolver 'dns' is not defined"]
    assert problems(node("d", "dummy_deny"), node("d", "dummy_deny")) == ["escaper: escaper 'd' is defined twice"]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    colon = {"username": "a:b", "password": "c"}
    found = problems(
        node("d", "direct_fixed", resolver="none"),
        node("h", "proxy_http", proxy_addr="127.0.0.1:1", auth=colon),
        node("s", "proxy_socks5", proxy_addr="127.0.0.1:1", auth={"username": "é", "password": "c"}),
        node("t", "proxy_https", proxy_addr="127.0.0.1:1", tls_client={"ca_certificate": tmp_path / "none.pem"}),
        node("e", "proxy_https", proxy_addr="127.0.0.1:1", tls_client={"ca_certificate": tmp_path / "empty.pem"}),
    )
    kinds = ["escaper.d.resolver", "escaper.h", "escaper.s", "escaper.t", "escaper.e"]
    assert [text.partition(":")[0] for text in found] == kinds
    assert "none.pem: No such file" in found[3]


EDGES = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefghi"), max_size=3), max_size=8)


def _acceptable(edges: dict[str, list[str]], depth: int) -> bool:
    """By following every path."""

    def longest(name: str, left: int) -> bool:
        return left > 0 and name in edges and all(longest(target, left - 1) for target in edges[name])

    return all(longest(name, depth) for name in edges)


@given(EDGES, st.integers(1, 6))
def test_t28_the_check_agrees_with_following_every_path(edges: dict[str, list[str]], depth: int) -> None:
    assert (graph_problems(edges, depth) == []) is _acceptable(edges, depth)


def test_t28_the_check_is_linear_in_a_graph_with_many_paths() -> None:
    """A ladder of 15 rungs with 10 ways each has 10**14 paths."""
    edges = {f"{rung}.{way}": [f"{rung + 1}.{other}" for other in range(10)] for rung in range(15) for way in range(10)}
    edges |= {f"15.{way}": [] for way in range(10)}
    assert graph_problems(edges) == []


def test_edges_name_every_next_once() -> None:
    assert escaper_edges([route("r", "a", "b", "a"), node("a", "dummy_deny")]) == {"r": ("a", "b"), "a": ()}


def test_esc_02_the_choice_is_pure() -> None:
    built = registry(route("r", "a", "b"), node("a", "dummy_deny"), node("b", "direct_fixed"))
    ctx = wish("x.a.test")
    first, second = built.choose("r", ctx), built.choose("r", ctx)
    assert first == second
    assert (first.path, first.rules, first.leaf.name) == (("r", "a"), ("r: child_match a.test",), "a")
    assert [summary.stats.chosen for summary in built.summaries()] == [0, 0, 0]
    built.close()


@pytest.mark.security
def test_esc_30_an_escaper_of_another_tenant_is_no_way_out() -> None:
    built = registry(route("r", "private", "open"), node("private", "direct_fixed", tenants=["a"]), node("open", "dummy_deny"))
    assert built.choose("r", wish("private.test", tenant="a")).path == ("r", "private")
    with pytest.raises(PolicyError) as caught:
        built.choose("r", wish("private.test", tenant="b"))
    assert caught.value.reason is Reason.NO_ESCAPER
    assert caught.value.escape
    assert caught.value.escape.path == ("r", "private")
    built.close()


@pytest.mark.security
def test_esc_30_a_router_of_another_tenant_neither() -> None:
    built = registry(route("r", "open", tenants=["a"]), node("open", "direct_fixed"))
    with pytest.raises(PolicyError):
        built.choose("r", wish("x.test", tenant="b"))
    built.close()


def test_an_unknown_root_is_no_way_out() -> None:
    built = registry(node("d", "dummy_deny"))
    with pytest.raises(PolicyError) as caught:
        built.choose("nowhere", wish("x.test"))
    assert caught.value.reason is Reason.NO_ESCAPER
    built.close()


async def test_esc_19_dummy_deny_asks_nobody_and_connects_nowhere() -> None:
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with origin() as server, dialer(node("nowhere", "dummy_deny"), lookup=lookup) as out:
        with pytest.raises(PolicyError) as caught:
            await out.connect("nowhere", wish("x.test", server.port))
    assert (caught.value.reason, caught.value.reason.status) == (Reason.DENIED_BY_ESCAPER, 403)
    assert (asked, server.peers) == ([], [])
    assert caught.value.escape
    assert caught.value.escape.path == ("nowhere",)


async def test_esc_14_a_router_resolves_once_for_itself_and_for_the_leaf() -> None:
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    rule = {"subnet_match": "127.0.0.0/8", "next": "d"}
    outer = node("outer", "route_upstream", resolver="fresh", rules=[rule], fallback_next="nowhere")
    leaf = node("d", "direct_fixed", resolver="fresh")
    fresh = resolver("fresh", cache_ttl=0)
    async with origin() as server, dialer(outer, leaf, node("nowhere", "dummy_deny"), resolvers=[fresh], lookup=lookup) as out:
        dialed = await out.connect("outer", wish("x.test", server.port))
        await close(dialed)
    assert dialed.notes.rules == ("outer: subnet_match 127.0.0.0/8",)
    assert asked == ["x.test"]


@pytest.mark.security
async def test_esc_14_a_router_that_cannot_resolve_lets_nothing_pass() -> None:
    """The network rule could be one that denies: without an answer it must not be skipped."""

    def lookup(host: str) -> list[str]:
        raise OSError("no server")

    rule = {"subnet_match": "10.0.0.0/8", "next": "nowhere"}
    outer = node("outer", "route_upstream", resolver="dns", rules=[rule], fallback_next="parent")
    parent = node("parent", "proxy_http", proxy_addr="127.0.0.1:1")
    async with dialer(outer, parent, node("nowhere", "dummy_deny"), resolvers=[resolver("dns")], lookup=lookup) as out:
        with pytest.raises(Exception) as caught:
            await out.connect("outer", wish("x.test"))
    assert caught.value.reason is Reason.DNS_FAILED  # type: ignore[attr-defined]


async def test_esc_01_every_escaper_is_listed_with_its_counters() -> None:
    nodes = [
        route("r", "d", "nowhere"),
        node("d", "direct_fixed", tenants=["a"]),
        node("h", "proxy_http", proxy_addr="127.0.0.1:1"),
        node("t", "proxy_https", proxy_addr="127.0.0.1:1"),
        node("s", "proxy_socks5", proxy_addr="127.0.0.1:1"),
        node("nowhere", "dummy_deny"),
    ]
    async with origin() as server, dialer(*nodes, resolvers=[]) as out:
        await close(await out.connect("d", wish("127.0.0.1", server.port)))
        for root, port in (("d", closed_port()), ("r", 1)):
            with pytest.raises(Exception):  # noqa: B017
                await out.connect(root, wish("127.0.0.1", port))
        summaries = {summary.name: summary for summary in out.registry.summaries()}
    assert [(name, row.type) for name, row in summaries.items()] == [(built.name, built.type) for built in nodes]
    assert (summaries["r"].next, summaries["d"].tenants) == (("d", "nowhere"), ("a",))
    assert (summaries["d"].stats.chosen, summaries["d"].stats.connected) == (2, 1)
    assert summaries["d"].stats.failures == {"connect_refused": 1}
    assert summaries["nowhere"].stats.failures == {"denied_by_escaper": 1}
    assert summaries["r"].stats.chosen == 1


def test_from_config_is_the_way_in() -> None:
    built = Registry.from_config([node("d", "dummy_deny")], [], [])
    assert built.choose("d", wish("x.test")).path == ("d",)
    built.close()


@pytest.mark.security
async def test_tls_12_a_way_out_stands_while_the_choice_and_the_guard_would_be_the_same() -> None:
    nodes = [
        route("r", "leaf", "other"),
        node("leaf", "direct_fixed", tenants=["a"]),
        node("other", "direct_fixed"),
        node("none", "dummy_deny"),
        node("parent", "proxy_http", proxy_addr="127.0.0.1:3128"),
    ]
    made = EscapeNotes(path=("r", "leaf"), resolved_ip="127.0.0.1")
    async with dialer(*nodes) as out:
        assert out.stands("r", wish("x.leaf.test"), made)
        assert not out.stands("r", wish("x.test"), made)  # another leaf
        assert not out.stands("leaf", wish("x.leaf.test"), made)  # another root
        assert not out.stands("r", wish("x.leaf.test", tenant="b"), made)  # not for this tenant
        assert not out.stands("gone", wish("x.leaf.test"), made)
        assert not out.stands("r", wish("x.leaf.test"), replace(made, resolved_ip="169.254.169.254"))
        assert not out.stands("r", wish("x.leaf.test"), replace(made, resolved_ip=""))
        assert not out.stands("none", wish("x.test"), EscapeNotes(path=("none",)))
        assert out.stands("parent", wish("x.test"), EscapeNotes(path=("parent",), resolved_ip="127.0.0.1"))


@pytest.mark.security
async def test_tls_12_a_way_out_that_depends_on_addresses_does_not_stand_unasked() -> None:
    by_network = [{"subnet_match": "10.0.0.0/8", "next": "leaf"}]
    nodes = [
        node("r", "route_upstream", rules=by_network, resolver="static", fallback_next="leaf"),
        node("leaf", "direct_fixed"),
    ]
    async with dialer(*nodes, resolvers=[resolver()]) as out:
        assert not out.stands("r", wish("x.test"), EscapeNotes(path=("r", "leaf"), resolved_ip="127.0.0.1"))


@pytest.mark.security
async def test_tls_12_a_parent_is_no_way_back_in() -> None:
    own = [Target("127.0.0.1", 8080)]
    async with dialer(node("parent", "proxy_http", proxy_addr="127.0.0.1:3128"), own=own) as out:
        made = EscapeNotes(path=("parent",), resolved_ip="127.0.0.1")
        assert not out.stands("parent", wish("127.0.0.1", 8080), made)
