"""What people do with quarantined bodies: with a reason, recorded before, and whole or not at all."""

import pytest

from appliance.domain.quarantine import Damaged, QuarantineError
from tests.appliance.quarantine.place import ALICE, Place


def test_releasing_and_deleting_are_recorded_with_who_and_why(place: Place) -> None:
    number, _ = place.keep(b"virus" * 50_000)
    assert place.released(number) == b"virus" * 50_000
    assert place.desk.delete("acme", number, ALICE, "done with it").id == number
    assert [(act.verb, act.on, act.subject, act.tenant, act.by, act.note, act.host) for act in place.acts] == [
        ("released", "quarantine", number, "acme", ALICE, "to look at it", "bad.test"),
        ("deleted", "quarantine", number, "acme", ALICE, "done with it", "bad.test"),
    ]
    with pytest.raises(QuarantineError):
        place.desk.get("acme", number)
    with pytest.raises(QuarantineError):
        place.desk.delete("acme", number, ALICE, "again")
    assert len(place.acts) == 2


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 301])
def test_without_a_reason_nothing_happens(place: Place, reason: str) -> None:
    number, _ = place.keep(b"virus")
    with pytest.raises(QuarantineError, match="reason"):
        place.desk.delete("acme", number, ALICE, reason)
    with pytest.raises(QuarantineError, match="reason"), place.desk.release("acme", number, ALICE, reason):
        pass
    assert (place.ids(), place.acts) == ([number], [])


@pytest.mark.security
def test_what_cannot_be_recorded_is_not_done(place: Place) -> None:
    number, _ = place.keep(b"virus")
    place.deaf = True
    with pytest.raises(OSError, match="room"):
        place.desk.delete("acme", number, ALICE, "x")
    with pytest.raises(OSError, match="room"):
        place.released(number)
    assert place.ids() == [number]


@pytest.mark.security
@pytest.mark.parametrize("at", [0, 9, 40, -1, -70_000])
def test_a_damaged_body_is_never_given_out_but_can_be_deleted(place: Place, at: int) -> None:
    number, _ = place.keep(b"virus" * 50_000)
    data = bytearray(place.file(number).read_bytes())
    data[at] ^= 1
    place.file(number).write_bytes(data)
    with pytest.raises(Damaged):
        place.released(number)
    assert place.acts == []
    place.desk.delete("acme", number, ALICE, "it is damaged")
    assert place.ids() == []


def test_a_release_that_comes_to_nothing_says_so(place: Place) -> None:
    number, _ = place.keep(b"virus")
    with pytest.raises(OSError, match="full"), place.desk.release("acme", number, ALICE, "x"):
        raise OSError("the disk is full")
    assert [(act.verb, act.failed) for act in place.acts] == [("released", ""), ("released", "the disk is full")]


def test_the_newest_stand_first_and_tenants_apart(place: Place) -> None:
    numbers = []
    for number, tenant in enumerate(("acme", "blue", "acme")):
        place.clock.advance(10)
        numbers.append(place.keep(bytes([number]), tenant)[0])
    assert [item.id for item in place.desk.items()] == numbers[::-1]
    assert [item.id for item in place.desk.items("blue")] == [numbers[1]]
    assert [place.desk.tenant_of(number) for number in numbers] == ["acme", "blue", "acme"]
    with pytest.raises(QuarantineError):
        place.desk.tenant_of("0" * 32)
