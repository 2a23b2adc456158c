"""C3, C17, D5: what is learned, from whom, and what nobody can make the appliance learn."""

from pathlib import Path
from typing import Any

import pytest

from appliance.config.exclusions import Learning
from appliance.domain.exclusion import Kind, State
from appliance.domain.learning import Key
from appliance.storage import observations
from appliance.storage.observations import REFUSALS_PER_CLIENT
from tests.appliance.learning.scene import ALICE, APP, HOST, OTHER, RULES, THREE, scene


def changed(**changes: Any) -> Learning:
    return RULES.model_copy(update=changes)


# -- honest programs


def test_d5_three_honest_pinned_clients_get_an_exclusion_for_their_program(tmp_path: Path) -> None:
    """D5, C3: with its evidence, for one fingerprint, one host, one tenant, for a time."""
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        place.learner.observe([place.accepted("10.0.0.9", HOST, OTHER)])
        (learned,) = place.refuse(*THREE)
        assert (learned.tenant, learned.host, learned.fingerprint, learned.kind) == ("a", HOST, APP, Kind.PINNED)
        assert learned.retest == 10
        (record,) = place.records
        assert record.state is State.ACTIVE
        assert record.until == pytest.approx(place.clock.now() - 600 + RULES.ttl)
        evidence = record.evidence
        assert (evidence.clients, evidence.failures, evidence.strangers) == (THREE, 6, 0)
        assert evidence.causes == {"unknown_ca": 6}
        assert evidence.user_agents == ("App/1.0",)
        assert (evidence.accepted_here, evidence.others_here) == (0, 1)
        assert evidence.last - evidence.first == 600
        (entry,) = place.desk.history(record.id)
        assert (entry.actor.name, entry.action) == ("policy", "active")


def test_d5_a_proposal_waits_for_a_person(tmp_path: Path) -> None:
    with scene(tmp_path, changed(mode="propose")) as place:
        place.trusting(*THREE)
        assert place.refuse(*THREE, rounds=4) == ()
        (record,) = place.records
        assert record.state is State.PROPOSED
        assert record.evidence.failures == 12, "the evidence grows while it waits"
        place.desk.approve(record.id, ALICE)
        assert [each.id for each in place.learner.tick()] == [record.id]
        assert [(entry.actor.name, entry.action) for entry in place.desk.history(record.id)][-1] == ("alice", "approved")


def test_c3_closing_without_an_alert_counts_as_well(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        assert place.refuse(*THREE, alert="", tls_failure="pinned")
        assert place.records[0].evidence.causes == {"closed": 6}


def test_c17_a_server_that_asks_for_a_certificate_is_proposed_for_every_client(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        for _ in range(2):
            place.see(*(place.asked(ip) for ip in THREE))
            place.clock.advance(600)
        (learned,) = place.learner.tick()
        assert (learned.kind, learned.fingerprint) == (Kind.MTLS, "")


def test_d5_learning_can_be_off(tmp_path: Path) -> None:
    with scene(tmp_path, changed(mode="off")) as place:
        place.trusting(*THREE)
        assert place.refuse(*THREE) == ()
        assert place.records == []


# -- what a hostile client cannot earn


@pytest.mark.security
def test_d5_one_client_that_floods_alerts_earns_nothing(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting("10.0.0.1")
        for _ in range(10):
            assert place.see(*(place.refused("10.0.0.1") for _ in range(100))) == ()
            place.clock.advance(600)
        assert place.records == []
        kept = place.store.observations.evidence(next(iter(place.store.observations.suspects(0))), 0).failures
        assert kept == REFUSALS_PER_CLIENT, "and it fills no disk"


@pytest.mark.security
def test_d5_clients_that_never_trusted_our_ca_do_not_count(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE[:2])
        assert place.refuse(*THREE, "10.0.0.4", "10.0.0.5", rounds=5) == ()
        assert place.records == []


@pytest.mark.security
def test_d5_to_trust_our_ca_on_the_same_host_is_no_trust_elsewhere(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.learner.observe([place.accepted(ip, HOST, OTHER) for ip in THREE])
        assert place.refuse(*THREE) == ()
        assert place.refuse(*THREE, ja4=OTHER) == ()


@pytest.mark.security
def test_d5_fingerprints_that_change_each_time_add_up_to_nothing(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        for number, ip in enumerate(THREE * 4):
            mine = f"t13d1516h2_8daaf6152771_{number:012x}"
            place.trusting(ip, ja4=mine)
            assert place.refuse(ip, ja4=mine) == ()
        assert place.records == []


@pytest.mark.security
def test_d5_trust_shown_with_another_fingerprint_is_another_program_s(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE, ja4=OTHER)
        assert place.refuse(*THREE) == ()


@pytest.mark.security
def test_d5_the_addresses_of_one_ipv6_network_are_one_client(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        ips = [f"2001:db8:1:1::{number:x}" for number in range(1, 9)]
        place.trusting(*ips)
        assert place.refuse(*ips, rounds=5) == ()
        others = ["2001:db8:1:2::1", "2001:db8:1:3::1"]
        place.trusting(*others)
        assert len(place.refuse(*others)) == 1, "three networks are three"


@pytest.mark.security
def test_d5_a_user_with_many_addresses_is_one_client(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE, user_id="mallory")
        assert place.refuse(*THREE, user_id="mallory", rounds=5) == ()


@pytest.mark.security
@pytest.mark.parametrize("mode", ["apply", "propose"])
def test_d5_a_host_under_a_rule_or_on_the_never_list_is_not_even_proposed(tmp_path: Path, mode: str) -> None:
    with scene(tmp_path, changed(mode=mode), pinned_test="access policy no-upload looks into it") as place:
        place.trusting(*THREE)
        assert place.refuse(*THREE) == ()
        assert place.records == []


@pytest.mark.security
def test_d5_one_success_of_the_program_on_the_host_speaks_against_it(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        place.learner.observe([place.accepted("10.0.0.77", HOST)])
        assert place.refuse(*THREE) == ()


@pytest.mark.security
def test_d5_a_burst_is_not_spread_over_time(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        assert place.see(*(place.refused(ip) for ip in THREE * 10)) == ()
        place.clock.advance(599)
        assert place.see(place.refused(THREE[0])) == ()
        place.clock.advance(1)
        assert len(place.see(place.refused(THREE[0]))) == 1


@pytest.mark.security
@pytest.mark.parametrize(("clients", "rounds", "expected"), [(2, 9, 0), (3, 1, 0), (3, 2, 1)])
def test_d5_thresholds_at_their_limits(tmp_path: Path, clients: int, rounds: int, expected: int) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        assert len(place.refuse(*THREE[:clients], rounds=rounds)) == expected


@pytest.mark.security
def test_d5_old_failures_do_not_count(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        place.refuse(*THREE[:2])
        place.clock.advance(RULES.period)
        assert place.refuse(THREE[2], rounds=5) == ()


@pytest.mark.security
def test_d5_two_names_for_one_connection_are_no_evidence_for_either(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        assert place.refuse(*THREE, destination_host="evil.test") == ()
        assert place.records == []


@pytest.mark.security
def test_d5_the_number_of_exclusions_is_bounded(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        for number in range(5):
            place.refuse(*THREE, host=f"h{number}.test")
        assert len(place.learner.tick()) == RULES.max_entries


# -- tenants


@pytest.mark.security
def test_d5_what_one_tenant_s_clients_do_teaches_another_tenant_nothing(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE, tenant="b")
        assert place.refuse(*THREE, tenant="a") == (), "trust shown in b is not trust in a"
        place.learner.observe([place.accepted("10.0.0.77", HOST, tenant="b")])
        place.trusting(*THREE, tenant="a")
        (learned,) = place.refuse(*THREE, tenant="a")
        assert learned.tenant == "a"
        assert [record.key.tenant for record in place.records] == ["a"]
        assert place.desk.records("b") == []


def test_d5_events_of_unknown_tenants_are_not_learned_from(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE, tenant="gone")
        assert place.refuse(*THREE, tenant="gone") == ()
        assert place.store.observations.suspects(0) == []


# -- the end of an exclusion


def test_d5_an_exclusion_expires_and_needs_new_evidence(tmp_path: Path) -> None:
    with scene(tmp_path, changed(ttl=3600.0)) as place:
        place.trusting(*THREE)
        assert place.refuse(*THREE)
        place.clock.advance(3000)
        assert place.learner.tick() == ()
        assert place.records[0].state is State.EXPIRED
        assert place.refuse(THREE[0]) == (), "the failures before count no more"
        assert place.refuse(*THREE)


def test_d5_a_retest_that_succeeds_ends_it(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        assert place.refuse(*THREE)
        place.clock.advance(60)
        assert place.see(place.accepted("10.0.0.3", HOST)) == ()
        (record,) = place.records
        assert record.state is State.EXPIRED
        assert place.desk.history(record.id)[-1].actor.name == "retest"
        assert place.refuse(*THREE, rounds=3) == (), "what has worked is not learned again"


def test_d5_a_retest_that_fails_keeps_it(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        assert place.refuse(*THREE)
        assert len(place.refuse(THREE[0])) == 1
        assert place.records[0].evidence.failures == 8


def test_d5_what_was_rejected_is_not_proposed_again_until_its_time_is_over(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        place.refuse(*THREE)
        place.desk.reject(place.records[0].id, ALICE)
        assert place.refuse(*THREE, rounds=5) == ()
        assert len(place.records) == 1
        place.clock.advance(RULES.ttl)
        place.learner.tick()
        place.trusting(*THREE)
        assert place.refuse(*THREE)


def test_d5_the_same_events_again_change_nothing(tmp_path: Path) -> None:
    """The drain offers a batch twice after a crash."""
    with scene(tmp_path) as place:
        events = [place.accepted(ip) for ip in THREE] + [place.refused(ip) for ip in THREE]
        place.see(*events)
        place.clock.advance(600)
        assert place.see(*events) == ()
        assert place.store.observations.evidence(place.store.observations.suspects(0)[0], 0).failures == 3


def test_d5_a_restart_looks_at_everything_once(tmp_path: Path) -> None:
    with scene(tmp_path) as first:
        first.trusting(*THREE)
        first.learner.observe([first.refused(ip) for ip in THREE])
        first.clock.advance(600)
        first.learner.observe([first.refused(ip) for ip in THREE])
        now = first.clock.now()
    with scene(tmp_path) as second:
        second.clock.time = now
        assert len(second.learner.tick()) == 1


def test_observations_are_forgotten(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        place.refuse(*THREE, rounds=1)
        place.clock.advance(31 * 86_400)
        place.learner.tick()
        assert place.store.observations.suspects(0) == []
        assert place.refuse(*THREE) == (), "nor is their trust remembered"


@pytest.mark.security
def test_d5_one_machine_with_addresses_of_many_kinds_is_one_client(tmp_path: Path) -> None:
    """Dual stack, a private IPv6 network beside the global one, and a sign-in: all of it is one machine."""
    one = ("10.0.0.1", "2001:db9::1", "fd00:1::1", "fe80::1")
    with scene(tmp_path) as place:
        place.trusting(*one)
        assert place.refuse(*one, rounds=9) == ()
        place.trusting("10.0.0.2", "10.0.0.3")
        assert len(place.refuse("10.0.0.2", "10.0.0.3")) == 1


@pytest.mark.security
def test_d5_a_flood_of_one_tenant_or_client_pushes_out_nothing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observations, "REFUSALS", 60)
    monkeypatch.setattr(observations, "ACCEPTANCES", 60)
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        place.trusting(*THREE, tenant="b")
        place.refuse(*THREE, rounds=1)
        place.refuse(*THREE, rounds=1, tenant="b")
        for number in range(200):
            place.learner.observe([place.refused("10.0.9.9", f"h{number}.test"), place.accepted("10.0.9.9", f"g{number}.test")])
        place.store.prune(place.clock.now())
        found = [place.store.observations.evidence(Key(tenant, HOST, APP, Kind.PINNED), 0.0).clients for tenant in ("a", "b")]
        assert found == [THREE, THREE]
        assert len(place.store.observations.suspects(0.0)) <= 60


def test_d5_many_observations_are_pruned_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only every ten minutes: within that time clients could fill the disk."""
    monkeypatch.setattr("appliance.learning.learner.PRUNE_ROWS", 100)
    monkeypatch.setattr("appliance.storage.observations.REFUSALS", 50)
    with scene(tmp_path) as place:
        place.learner.tick()

        def kept() -> int:
            with place.database.reading() as connection:
                return int(connection.exec_driver_sql("SELECT count(*) FROM tls_refusals").scalar_one())

        place.see(*(place.refused(f"10.1.{n}.1", host=f"h{n}.test") for n in range(99)))
        assert kept() == 99, "at the next observation"
        place.see(place.refused("10.2.0.1"))
        assert kept() == 50
        place.see(*(place.refused(f"10.3.{n}.1", host=f"h{n}.test") for n in range(99)))
        assert kept() == 149
