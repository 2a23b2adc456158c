"""Age and size: the oldest go first, at the limit nothing does, and the audit stream knows before."""

import pytest

from appliance.config.quarantine import Quarantine
from tests.appliance.quarantine.place import Place


def filled(place: Place, count: int, tenant: str = "acme") -> list[str]:
    numbers = []
    for number in range(count):
        numbers.append(place.keep(bytes([number]) * 1000, tenant)[0])
        place.clock.advance(100)
    return numbers


def test_what_is_too_old_goes(place: Place) -> None:
    numbers = filled(place, 3)
    place.limits = Quarantine(max_age=300)
    assert place.prune() == {"expired": 0, "displaced": 0}, "the oldest is exactly as old as it may be"
    place.clock.advance(1)
    assert place.prune() == {"expired": 1, "displaced": 0}
    assert place.ids() == numbers[1:]
    assert [(act.verb, act.subject, act.note, act.host) for act in place.acts] == [("expired", numbers[0], "Eicar", "bad.test")]


@pytest.mark.parametrize("by", ["items", "size"])
def test_what_is_too_much_goes_the_oldest_first(place: Place, by: str) -> None:
    numbers = filled(place, 4)
    size = place.file(numbers[0]).stat().st_size
    at = Quarantine(max_items=4) if by == "items" else Quarantine(max_total=4 * size)
    below = Quarantine(max_items=2) if by == "items" else Quarantine(max_total=3 * size - 1)
    place.limits = at
    assert place.prune() == {"expired": 0, "displaced": 0}
    place.limits = below
    assert place.prune() == {"expired": 0, "displaced": 2}
    assert place.ids() == numbers[2:]


@pytest.mark.security
def test_one_tenants_bodies_do_not_displace_anothers(place: Place) -> None:
    other = filled(place, 1, "blue")
    filled(place, 4)
    place.limits = Quarantine(max_items=2)
    place.prune()
    assert place.prune("blue") == {"expired": 0, "displaced": 0}
    assert place.ids("blue") == other


def test_what_cannot_be_recorded_stays(place: Place) -> None:
    numbers = filled(place, 3)
    place.limits, place.deaf = Quarantine(max_items=1), True
    with pytest.raises(OSError, match="room"):
        place.prune()
    assert place.ids() == numbers
    place.limits = Quarantine()
    assert place.prune() == {"expired": 0, "displaced": 0}, "where nothing is deleted, nothing is told"
