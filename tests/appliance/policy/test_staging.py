"""D9: a rule for a share of the clients."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.facts import UserFacts
from appliance.policy.staging import among

pytestmark = pytest.mark.unit

CLIENTS = [f"10.0.{high}.{low}" for high in range(20) for low in range(100)]


def inside(share: float, rule: str = "r") -> set[str]:
    return {ip for ip in CLIENTS if among(share, rule, ip, None)}


@given(st.floats(0, 1), st.floats(0, 1), st.ip_addresses().map(str), st.text(max_size=10))
def test_d9_a_larger_share_only_adds_clients(one: float, other: float, ip: str, rule: str) -> None:
    less, more = sorted((one, other))
    assert not among(less, rule, ip, None) or among(more, rule, ip, None)
    assert among(1.0, rule, ip, None)
    assert not among(0.0, rule, ip, None)


def test_d9_the_share_is_about_what_it_says_and_the_same_each_time() -> None:
    for share in (0.01, 0.25, 0.5, 0.9):
        assert abs(len(inside(share)) / len(CLIENTS) - share) < 0.04
    assert inside(0.25) == inside(0.25)


def test_d9_another_rule_takes_other_clients() -> None:
    both = inside(0.25, "one") & inside(0.25, "two")
    assert len(both) < 0.5 * len(inside(0.25, "one"))


def test_d9_a_user_has_one_place_wherever_they_come_from() -> None:
    for number in range(50):
        user = UserFacts(f"user{number}", "staff")
        assert len({among(0.5, "r", ip, user) for ip in CLIENTS[:50]}) == 1
