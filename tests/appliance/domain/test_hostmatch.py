"""The matcher against its definition: exact, then longest parent, then longest network, then patterns in order."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.hostmatch import MAX_PATTERN_LENGTH, HostMatcher, NetworkMap, check_pattern, domain_matcher

LABELS = st.sampled_from(["a", "b", "example", "com", "bad"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@given(host=NAMES, exact=st.lists(NAMES, max_size=4), child=st.lists(NAMES, max_size=6))
def test_esc_13_child_match_longest_wins_against_brute_force(host: str, exact: list[str], child: list[str]) -> None:
    found = HostMatcher([(name, f"={name}") for name in exact], [(name, f".{name}") for name in child]).find(host)
    if host in exact:
        assert found is not None
        assert found.value == f"={host}"
        return
    parents = [name for name in child if host == name or host.endswith("." + name)]
    assert (found.value if found else None) == (f".{max(parents, key=len)}" if parents else None)


@given(st.ip_addresses(v=4), st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), max_size=8))
def test_ten_01_longest_prefix_against_brute_force(
    address: ipaddress.IPv4Address, nets: list[tuple[ipaddress.IPv4Address, int]]
) -> None:
    networks = [ipaddress.ip_network((int(net), length), strict=False) for net, length in nets]
    found = NetworkMap([(net, str(net)) for net in networks]).longest(str(address))
    holding = [net for net in networks if address in net]
    assert (found.value if found else None) == (str(max(holding, key=lambda net: net.prefixlen)) if holding else None)


def test_esc_13_a_name_that_only_ends_alike_does_not_match() -> None:
    matcher = domain_matcher([".tenant-b.com"])
    assert matcher.find("x.tenant-b.com")
    assert matcher.find("tenant-b.com")
    assert matcher.find("eviltenant-b.com") is None


def test_esc_14_networks_of_both_families() -> None:
    matcher = HostMatcher(networks=[(ipaddress.ip_network("10.0.0.0/8"), "v4"), (ipaddress.ip_network("2001:db8::/32"), "v6")])
    assert [m.value if (m := matcher.find(host)) else None for host in ("10.1.2.3", "2001:db8::1", "11.0.0.1", "x.com")] == [
        "v4", "v6", None, None,
    ]  # fmt: skip


def test_esc_15_patterns_match_the_whole_host_in_order() -> None:
    matcher = HostMatcher(regex=[(r".*\.malicious\..*", "first"), (r".*", "second")])
    assert matcher.find("x.malicious.com").value == "first"  # type: ignore[union-attr]
    assert matcher.find("malicious.com").value == "second"  # type: ignore[union-attr]


@pytest.mark.parametrize("pattern", ["(a+)+", "(a*)*b", "(a|b+)+c", "(x+){2,}", "(", "a" * (MAX_PATTERN_LENGTH + 1)])
def test_esc_15_patterns_that_explode_or_do_not_compile_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        check_pattern(pattern)


def test_a_pattern_at_the_length_limit_passes() -> None:
    assert isinstance(check_pattern("a" * MAX_PATTERN_LENGTH), re.Pattern)
