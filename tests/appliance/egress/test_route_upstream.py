"""ESC-11 to ESC-15: which rule chooses."""

import ipaddress
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from appliance.config.escaper import RouteRule
from appliance.domain.target import normalise_host
from appliance.egress.context import EscapeContext, Resolution
from appliance.egress.route_upstream import RouteUpstream
from tests.appliance.egress.ways import node, wish


def router(*rules: dict[str, Any], **fields: Any) -> RouteUpstream:
    return RouteUpstream(node("r", "route_upstream", rules=list(rules), fallback_next="fallback", **fields))  # type: ignore[arg-type]


def goes(subject: RouteUpstream, host: str, tenant: str = "a") -> str:
    return subject.next(wish(host, tenant=tenant)).name


EXACT = {"exact_match": "a.example.com", "next": "exact"}
CHILD = {"child_match": "example.com", "next": "child"}
DEEPER = {"child_match": "b.example.com", "next": "deeper"}
NET = {"subnet_match": "203.0.113.0/24", "next": "net"}
NARROW = {"subnet_match": "203.0.113.128/25", "next": "narrow"}
SIX = {"subnet_match": "2001:db8::/32", "next": "six"}
REGEX = {"regex_match": r".*\.example\..*", "next": "regex"}


def test_esc_11_a_tenants_rule_beats_an_identical_rule_for_all() -> None:
    subject = router(EXACT, {**EXACT, "next": "own", "tenant": "b"})
    assert (goes(subject, "a.example.com", "b"), goes(subject, "a.example.com", "a")) == ("own", "exact")


def test_esc_11_a_tenants_weakest_rule_beats_the_strongest_for_all() -> None:
    subject = router(EXACT, {"regex_match": ".*", "next": "own", "tenant": "b"})
    assert goes(subject, "a.example.com", "b") == "own"


def test_esc_11_unmatched_goes_to_the_fallback() -> None:
    hop = router(EXACT).next(wish("other.test"))
    assert (hop.name, hop.rule) == ("fallback", "r: fallback_next")


def test_esc_11_the_rule_is_told_in_words() -> None:
    subject = router(CHILD, {**EXACT, "tenant": "b"})
    assert subject.next(wish("x.example.com")).rule == "r: child_match example.com"
    assert subject.next(wish("a.example.com", tenant="b")).rule == "r: tenant b exact_match a.example.com"


def test_esc_12_exact_ignores_case_and_trailing_dot() -> None:
    subject = router({"exact_match": "A.Example.COM.", "next": "exact"})
    assert [goes(subject, normalise_host(host)) for host in ("a.example.com", "A.EXAMPLE.com", "a.example.com.")] == [
        "exact"
    ] * 3
    assert goes(subject, "b.a.example.com") == "fallback"


def test_esc_13_child_matches_itself_and_below_and_no_lookalike() -> None:
    subject = router(CHILD)
    assert [goes(subject, host) for host in ("example.com", "a.b.example.com")] == ["child"] * 2
    assert [goes(subject, host) for host in ("badexample.com", "example.com.evil.test", "com")] == ["fallback"] * 3


@pytest.mark.parametrize("rules", [(CHILD, DEEPER), (DEEPER, CHILD)])
def test_esc_13_child_match_longest_wins(rules: tuple[dict[str, Any], ...]) -> None:
    assert goes(router(*rules), "x.b.example.com") == "deeper"


def test_esc_13_a_leading_dot_changes_nothing() -> None:
    assert goes(router({"child_match": ".example.com", "next": "child"}), "example.com") == "child"


@pytest.mark.parametrize("rules", [(NET, NARROW, SIX), (SIX, NARROW, NET)])
def test_esc_14_longest_prefix_wins_for_literals(rules: tuple[dict[str, Any], ...]) -> None:
    subject = router(*rules)
    assert [goes(subject, ip) for ip in ("203.0.113.1", "203.0.113.129", "203.0.114.1")] == ["net", "narrow", "fallback"]
    assert [goes(subject, ip) for ip in ("2001:db8::1", "2001:db9::1")] == ["six", "fallback"]


def resolved(host: str, *addresses: str, by: str = "dns") -> EscapeContext:
    return wish(host, resolutions=(Resolution(by, addresses),))


def test_esc_14_resolved_addresses_count_with_a_resolver() -> None:
    subject = router(NET, NARROW, resolver="dns")
    assert subject.wants(wish("x.test")) == "dns"
    ctx = resolved("x.test", "203.0.113.1", "203.0.113.200")
    assert subject.wants(ctx) is None
    assert subject.next(ctx).name == "narrow"
    assert subject.next(resolved("x.test", "203.0.113.1", by="another")).name == "fallback"
    assert router(NET).next(ctx).name == "fallback"


def test_esc_14_no_lookup_where_no_address_can_decide() -> None:
    subject = router(EXACT, CHILD, NET, REGEX, resolver="dns")
    assert [subject.wants(wish(host)) for host in ("a.example.com", "z.example.com", "203.0.113.1")] == [None] * 3
    assert subject.wants(wish("b.example.org")) == "dns"  # the regular expression comes after the networks
    assert router(EXACT, REGEX, resolver="dns").wants(wish("b.example.org")) is None
    own = router(NET, {"regex_match": ".*", "next": "own", "tenant": "b"}, resolver="dns")
    assert (own.wants(wish("x.test", tenant="b")), own.wants(wish("x.test", tenant="a"))) == (None, "dns")


def test_esc_15_regex_matches_the_whole_host_and_in_order() -> None:
    subject = router({"regex_match": "example", "next": "part"}, REGEX, {"regex_match": ".*", "next": "late"})
    assert [goes(subject, host) for host in ("example", "x.example.org", "my-example")] == ["part", "regex", "late"]


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a*)*", "(x+x+)+y", "(", "a" * 513])
def test_esc_15_a_catastrophic_pattern_is_refused_by_the_configuration(pattern: str) -> None:
    with pytest.raises(ValidationError):
        RouteRule.model_validate({"regex_match": pattern, "next": "x"})


LABELS = st.sampled_from(["a", "b", "aa", "com", "test"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
IPS = st.sampled_from(["10.0.0.1", "10.0.1.1", "10.1.0.1", "11.0.0.1", "fd00::1", "fd01::1"])
NETS = st.sampled_from(["10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.0.0.1/32", "0.0.0.0/0", "fd00::/8", "fd00::/16"])
PATTERNS = st.sampled_from([".*", "a.*", r".*\.com", r"10\..*", "b"])
NEXT = st.sampled_from(["n1", "n2", "n3"])
RULES = st.one_of(
    st.fixed_dictionaries({"exact_match": st.one_of(NAMES, IPS), "next": NEXT}, optional={"tenant": st.just("a")}),
    st.fixed_dictionaries({"child_match": NAMES, "next": NEXT}, optional={"tenant": st.just("a")}),
    st.fixed_dictionaries({"subnet_match": NETS, "next": NEXT}, optional={"tenant": st.just("a")}),
    st.fixed_dictionaries({"regex_match": PATTERNS, "next": NEXT}, optional={"tenant": st.just("a")}),
)


def _score(rule: dict[str, Any], host: str) -> tuple[int, int] | None:
    """How strongly a rule matches, by comparing with it alone; None when it does not."""
    if "exact_match" in rule:
        return (4, 0) if rule["exact_match"] == host else None
    if "child_match" in rule:
        parent = rule["child_match"]
        return (3, len(parent)) if host == parent or host.endswith("." + parent) else None
    if "subnet_match" in rule:
        net = ipaddress.ip_network(rule["subnet_match"])
        try:
            return (2, net.prefixlen) if ipaddress.ip_address(host) in net else None
        except ValueError:
            return None
    return (1, 0) if re.fullmatch(rule["regex_match"], host) else None


def reference(rules: list[dict[str, Any]], host: str, tenant: str) -> str:
    """Ask every rule; the best score wins, the first of equals."""
    for scope in (tenant, None):
        scored = [(score, rule) for rule in rules if rule.get("tenant") == scope and (score := _score(rule, host))]
        if scored:
            return str(max(scored, key=lambda item: item[0])[1]["next"])
    return "fallback"


@given(st.lists(RULES, max_size=12), st.one_of(NAMES, IPS), st.sampled_from(["a", "b"]))
def test_esc_11_to_15_agree_with_asking_every_rule(rules: list[dict[str, Any]], host: str, tenant: str) -> None:
    assert goes(router(*rules), host, tenant) == reference(rules, host, tenant)
