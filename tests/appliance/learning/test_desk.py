"""What a person may decide, and what stands in the history."""

from pathlib import Path

import pytest

from appliance.domain.act import Actor
from appliance.domain.exclusion import Kind, State
from appliance.domain.learning import ExclusionError
from tests.appliance.learning.scene import ALICE, APP, HOST, RULES, THREE, Scene, scene


def proposed(place: Scene) -> str:
    place.trusting(*THREE)
    place.refuse(*THREE)
    return place.records[0].id


def test_d5_added_by_a_person_it_holds_until_its_end(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        record = place.desk.add("a", "App.Example.TEST.", "vendor confirmed", ALICE, APP, 3600.0)
        assert (record.key.host, record.key.kind, record.state) == ("app.example.test", Kind.MANUAL, State.ACTIVE)
        assert [each.id for each in place.learner.tick()] == [record.id]
        assert place.see(place.accepted("10.0.0.9", "app.example.test")), "a success elsewhere does not end a person's word"
        place.clock.advance(3600)
        assert place.learner.tick() == ()


@pytest.mark.security
@pytest.mark.parametrize(
    ("tenant", "host", "reason", "fingerprint", "ttl", "message"),
    [
        ("gone", "x.test", "why", "", 0.0, "no tenant"),
        ("a", "pinned.test", "why", "", 0.0, "cannot be excluded"),
        ("a", "not a host", "why", "", 0.0, "not a host name"),
        ("a", ".x.test", "why", "", 0.0, "not a host name"),
        ("a", "x.test", " ", "", 0.0, "reason"),
        ("a", "x.test", "line\nbreak", "", 0.0, "reason"),
        ("a", "x.test", "y" * 301, "", 0.0, "reason"),
        ("a", "x.test", "why", "chrome", 0.0, "JA4"),
        ("a", "x.test", "why", "", 400 * 86_400.0, "366 days"),
        ("a", "x.test", "why", "", -1.0, "366 days"),
    ],
)
def test_d5_what_cannot_be_added(
    tmp_path: Path, tenant: str, host: str, reason: str, fingerprint: str, ttl: float, message: str
) -> None:
    with scene(tmp_path, pinned_test="it is listed under never") as place:
        with pytest.raises(ExclusionError, match=message) as caught:
            place.desk.add(tenant, host, reason, ALICE, fingerprint, ttl)
        assert caught.value.hint
        assert place.records == []


def test_d5_one_for_each_host_and_program_and_so_many_for_a_tenant(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.desk.add("a", "x.test", "why", ALICE)
        with pytest.raises(ExclusionError, match="there is one"):
            place.desk.add("a", "x.test", "why", ALICE)
        place.desk.add("b", "x.test", "why", ALICE)
        place.desk.add("a", "x.test", "why", ALICE, APP)
        place.desk.add("a", "y.test", "why", ALICE)
        with pytest.raises(ExclusionError, match="max_entries"):
            place.desk.add("a", "z.test", "why", ALICE)


@pytest.mark.security
def test_d5_a_rule_that_came_later_stands_against_an_approval(tmp_path: Path) -> None:
    rules = RULES.model_copy(update={"mode": "propose"})
    with scene(tmp_path, rules) as place:
        number = proposed(place)
    with scene(tmp_path, rules, pinned_test="it is listed under block") as place:
        assert place.desk.against(place.desk.get(number))[0].startswith("cannot be excluded")
        with pytest.raises(ExclusionError, match="listed under block"):
            place.desk.approve(number, ALICE)


def test_d5_every_step_is_in_the_history(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        number = proposed(place)
        place.desk.reject(number, ALICE)
        place.desk.approve(number, Actor("bob"))
        place.desk.remove(number, Actor("carol"))
        steps = [(entry.actor.name, entry.action) for entry in place.desk.history(number)]
        assert steps == [("policy", "active"), ("alice", "rejected"), ("bob", "approved"), ("carol", "removed")]
        for step in (place.desk.approve, place.desk.reject, place.desk.remove, place.desk.extend):
            with pytest.raises(ExclusionError, match="removed"):
                step(number, Actor("dave"))


@pytest.mark.security
def test_d5_another_tenant_s_exclusion_is_not_there(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        number = proposed(place)
        for step in (place.desk.approve, place.desk.reject, place.desk.remove, place.desk.extend):
            with pytest.raises(ExclusionError, match="there is no exclusion"):
                step(number, Actor("mallory"), tenant="b")
        assert place.desk.get(number, "a").key.host == HOST


def test_d5_what_holds_is_extended_and_what_does_not_is_not(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        record = place.desk.add("a", "x.test", "why", ALICE, ttl=3600.0)
        place.clock.advance(1800)
        assert place.desk.extend(record.id, ALICE, "ticket 4711", ttl=7200.0).until == place.clock.now() + 7200
        assert place.desk.extend(record.id, ALICE).until == place.clock.now() + RULES.ttl
        with pytest.raises(ExclusionError, match="366 days"):
            place.desk.extend(record.id, ALICE, ttl=400 * 86_400.0)
        with pytest.raises(ExclusionError, match="printable"):
            place.desk.extend(record.id, ALICE, "line\nbreak")
        place.desk.reject(record.id, ALICE)
        with pytest.raises(ExclusionError, match="not active"):
            place.desk.extend(record.id, ALICE)
