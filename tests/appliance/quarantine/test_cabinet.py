"""A tenant's bodies: kept once, never in part, and nobody else's."""

import io
import os
from pathlib import Path

import pytest

from appliance.config.quarantine import Quarantine
from appliance.domain.errors import ConfigError
from appliance.domain.quarantine import Damaged, Keeping, QuarantineError
from tests.appliance.quarantine.place import ALICE, Place


def test_a_body_is_kept_once_and_counted(place: Place) -> None:
    first, kept = place.keep(b"virus", user="bob")
    again, counted = place.keep(b"virus", user="eve")
    assert (first, kept, counted) == (again, Keeping.KEPT, Keeping.AGAIN)
    place.keep(b"virus")
    (item,) = place.desk.items("acme")
    assert (item.times, item.user, item.size) == (3, "bob", 5)


@pytest.mark.security
def test_files_and_folders_are_for_their_owner_and_tell_nothing(place: Place) -> None:
    number, _ = place.keep(b"virus")
    file = place.file(number)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert place.store.key("acme").stat().st_mode & 0o777 == 0o600
    other, _ = place.keep(b"virus", "blue")
    assert other != number, "nobody can tell by the name that two tenants have the same"


@pytest.mark.security
def test_a_key_that_others_can_read_is_not_used(place: Place) -> None:
    place.keep(b"virus")
    place.store.key("acme").chmod(0o640)
    with pytest.raises(ConfigError):
        place.store.cabinet("acme")


@pytest.mark.security
def test_one_tenants_body_is_not_found_under_another(place: Place) -> None:
    number, _ = place.keep(b"virus")
    place.cabinet("blue")
    with pytest.raises(QuarantineError):
        place.desk.get("blue", number)
    with pytest.raises(QuarantineError):
        place.released(number, "blue")
    with pytest.raises(QuarantineError):
        place.desk.delete("blue", number, ALICE, "x")
    # not even when the file is put there
    place.file("x", "blue").parent.mkdir()
    os.link(place.file(number), place.file(number, "blue"))
    assert place.desk.get("blue", number).damaged
    with pytest.raises(Damaged):
        place.released(number, "blue")
    assert place.acts == []


@pytest.mark.security
@pytest.mark.parametrize("name", ["../acme/{}", "..", ".", "", "/etc/passwd", ".lock", "{}/../{}", "{}\0", "{}\n", "A" * 32])
def test_names_that_are_no_ids_lead_nowhere(place: Place, name: str) -> None:
    number, _ = place.keep(b"virus")
    wanted = name.format(number, number)
    with pytest.raises(QuarantineError):
        place.desk.get("acme", wanted)
    with pytest.raises(QuarantineError):
        place.desk.delete("acme", wanted, ALICE, "x")
    for tenant in ("../keys", "..", "", "a/b", "acme\0", "nobody"):
        with pytest.raises(QuarantineError):
            place.desk.get(tenant, number)
    assert place.ids() == [number]


@pytest.mark.security
def test_links_and_folders_are_no_bodies(place: Place, tmp_path: Path) -> None:
    place.keep(b"virus")
    (tmp_path / "outside").write_bytes(b"x")
    place.file("a" * 32).symlink_to(tmp_path / "outside")
    place.file("b" * 32).mkdir()
    os.mkfifo(place.file("c" * 32))
    for name in "abc":
        with pytest.raises(QuarantineError):
            place.desk.get("acme", name * 32)


class Breaking(io.BytesIO):
    """A body whose reading ends in the middle."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError("the disk is gone")
        return super().read(10)


def test_a_crash_in_the_middle_leaves_nothing_that_is_listed(place: Place) -> None:
    item = place.item(b"x" * 100)
    with pytest.raises(OSError, match="gone"):
        place.cabinet().keep(item, Breaking(b"x" * 100), place.limits)
    assert [file.name for file in place.file("x").parent.iterdir()] == [".lock"]
    # kill -9 leaves what no ``finally`` takes away
    place.file(f".{item.id}.part").write_bytes(b"ARCUSQ1\n half")
    place.file(f"{item.id}.again").write_bytes(b"3")
    assert (place.ids(), place.desk.items()) == ([], [])
    place.cabinet().sweep()
    assert [file.name for file in place.file("x").parent.iterdir()] == [".lock"]
    assert place.keep(b"x" * 100) == (item.id, Keeping.KEPT)
    assert place.desk.get("acme", item.id).times == 1


def test_a_damaged_file_is_replaced_when_the_body_is_met_again(place: Place) -> None:
    number, _ = place.keep(b"virus")
    place.file(number).write_bytes(b"junk")
    assert place.desk.get("acme", number).damaged
    assert place.keep(b"virus") == (number, Keeping.KEPT)
    assert place.released(number) == b"virus"


def test_a_full_quarantine_takes_one_more_and_then_none(place: Place) -> None:
    place.limits = Quarantine(max_items=2)
    assert [place.keep(bytes([number]))[1] for number in range(4)] == [Keeping.KEPT] * 3 + [Keeping.FULL]
    assert place.keep(b"\0")[1] is Keeping.AGAIN, "what is there needs no room"


def test_the_bytes_on_disk_are_what_counts(place: Place) -> None:
    number, _ = place.keep(b"x" * 1000)
    place.limits = Quarantine(max_total=place.file(number).stat().st_size)
    assert place.keep(b"y" * 10)[1] is Keeping.KEPT, "at the limit, not above it"
    assert place.keep(b"z" * 10)[1] is Keeping.FULL
