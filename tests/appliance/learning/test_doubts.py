"""D5: evidence that one hand could have made is shown to a person, and never applied at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.exclusion import State
from appliance.learning.judge import independent
from tests.appliance.learning.scene import ALICE, HOST, RULES, THREE, scene

pytestmark = pytest.mark.security

APART = ("10.0.0.1", "10.0.1.1", "10.0.1.2")
WARY = RULES.model_copy(update={"networks": 2, "max_entries": 100})


def test_d5_many_clients_of_one_network_get_no_more_than_a_proposal(tmp_path: Path) -> None:
    gang = tuple(f"10.0.0.{number}" for number in range(1, 200))
    with scene(tmp_path, WARY) as place:
        place.trusting(*gang)
        assert place.refuse(*gang) == ()
        (record,) = place.records
        assert (record.state, record.decided_by) == (State.PROPOSED, "policy")
        assert "clients of 1 of 2 networks, and 0 of 3 users" in place.desk.against(record)


def test_d5_ipv6_networks_of_one_site_are_one(tmp_path: Path) -> None:
    with scene(tmp_path, WARY) as place:
        site = tuple(f"2001:db8:1:{number:x}::1" for number in range(1, 100))
        place.trusting(*site)
        assert place.refuse(*site) == ()
        assert place.records[0].state is State.PROPOSED
        other = "2001:db8:2:1::1"
        place.trusting(other)
        assert len(place.refuse(other)) == 1, "another site has seen it, too"
        assert [entry.action for entry in place.desk.history(place.records[0].id)] == ["proposed", "active"]


def test_d5_an_ipv4_and_an_ipv6_network_may_be_one_machine_s(tmp_path: Path) -> None:
    with scene(tmp_path, WARY) as place:
        both = (*THREE, "2001:db8:1:1::1", "2001:db8:1:2::1")
        place.trusting(*both)
        assert place.refuse(*both) == ()
        assert place.records[0].state is State.PROPOSED


def test_d5_clients_of_two_networks_or_users_who_signed_in_are_enough(tmp_path: Path) -> None:
    with scene(tmp_path, WARY) as place:
        place.trusting(*APART)
        assert len(place.refuse(*APART)) == 1
        for name in ("ann", "bob", "cid"):
            place.trusting("10.0.0.9", user_id=name)
        for _ in range(2):
            found = place.see(*(place.refused("10.0.0.9", host="other.test", user_id=name) for name in ("ann", "bob", "cid")))
            place.clock.advance(600)
        assert {each.host for each in found} == {HOST, "other.test"}


def test_d5_what_a_person_rejected_no_evidence_brings_back(tmp_path: Path) -> None:
    with scene(tmp_path, WARY) as place:
        place.trusting(*THREE, "10.0.1.1")
        place.refuse(*THREE)
        place.desk.reject(place.records[0].id, ALICE)
        assert place.refuse(*THREE, "10.0.1.1", rounds=4) == ()
        assert place.records[0].state is State.REJECTED


def test_d5_a_program_that_is_at_home_everywhere_is_a_browser(tmp_path: Path) -> None:
    """To earn an exclusion with it, a hostile client has nothing to do but to browse; a pinned program meets few hosts."""
    with scene(tmp_path, WARY.model_copy(update={"common": 5})) as place:
        place.trusting(*APART)
        for number in range(3):
            place.learner.observe([place.accepted("10.0.9.9", f"site{number}.test")])
        assert len(place.refuse(*APART)) == 1, "at 4 hosts"
        place.learner.observe([place.accepted("10.0.9.9", "site4.test")])
        assert len(place.refuse(*APART, host="next.test")) == 1, "the second one was not applied"
        record = next(each for each in place.records if each.key.host == "next.test")
        assert (record.state, record.evidence.program_hosts) == (State.PROPOSED, 5)
        assert "a general program: it accepts our certificate at 5 hosts" in place.desk.against(record)


def test_d5_a_client_contributes_to_so_many_and_no_more(tmp_path: Path) -> None:
    with scene(tmp_path, WARY.model_copy(update={"per_client": 2})) as place:
        place.trusting(*APART)
        for number in range(5):
            found = place.refuse(*APART, host=f"wanted{number}.test")
        assert len(found) == 2, "three clients bring two, whatever they refuse"
        assert len(place.records) == 2
        others = ("10.0.2.1", "10.0.3.1", "10.0.4.1")
        place.trusting(*others)
        assert len(place.refuse(*others, host="wanted4.test")) == 3, "other people's evidence counts as before"
        for record in place.records[1:]:
            place.desk.remove(record.id, ALICE)
        assert len(place.refuse(*APART, host="later.test")) == 2, "what is over is not held against them"


def test_d5_one_tenant_s_clients_are_not_another_s(tmp_path: Path) -> None:
    with scene(tmp_path, WARY.model_copy(update={"per_client": 1})) as place:
        place.trusting(*APART)
        place.trusting(*APART, tenant="b")
        place.refuse(*APART)
        assert {each.tenant for each in place.refuse(*APART, tenant="b", host="other.test")} == {"a", "b"}


@pytest.mark.parametrize("mode", ["propose", "apply"])
def test_d5_hosts_under_never_are_not_even_proposed(tmp_path: Path, mode: str) -> None:
    rules = WARY.model_copy(update={"mode": mode})
    with scene(tmp_path, rules, pinned_test="it is listed under never") as place:
        gang = (*APART, *(f"10.{number}.0.1" for number in range(1, 50)))
        place.trusting(*gang)
        assert place.refuse(*gang, rounds=4) == ()
        assert place.records == []


def test_d5_a_rule_that_came_later_stands_against_what_was_proposed(tmp_path: Path) -> None:
    with scene(tmp_path, WARY) as place:
        place.trusting(*THREE, "10.0.1.1")
        place.refuse(*THREE)
    with scene(tmp_path, WARY, pinned_test="it is listed under never") as place:
        place.clock.advance(3600)
        assert place.refuse(*THREE, "10.0.1.1") == ()
        assert place.records[0].state is State.PROPOSED


ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"{ip.exploded[:19]}::/64"),
    st.sampled_from(["user:ann", "user:bob"]),
)


@given(st.lists(ADDRESSES, max_size=30))
def test_d5_there_are_never_more_networks_than_clients_and_order_does_not_matter(clients: list[str]) -> None:
    users, networks = independent(clients)
    assert users + networks <= len(set(clients)) or not clients
    assert independent(clients[::-1]) == (users, networks) == independent([*clients, *clients])
