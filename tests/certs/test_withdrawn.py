"""What a process knows of revoked leaves: read again when the list was replaced, kept when it cannot be read; C12."""

from pathlib import Path

from certs.revoked import Revoked, add
from certs.withdrawn import Withdrawn


def test_a_list_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "revoked.json"
    first, second = Withdrawn(file), Withdrawn(file)
    assert 5 not in first
    assert first.mark == ""
    add(file, Revoked(5, 1))
    assert 5 not in first
    first.refresh()
    assert 5 in first
    assert 6 not in first
    before = first.mark
    add(file, Revoked(6, 1))
    first.refresh()
    second.refresh()
    assert 6 in first
    assert first.mark == second.mark != before


def test_what_was_known_stays_known_while_the_list_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "revoked.json"
    add(file, Revoked(5, 1))
    known = Withdrawn(file)
    file.write_text("nonsense")
    known.refresh()
    assert 5 in known
    assert str(file) in known.trouble
    file.unlink()
    add(file, Revoked(7, 1))
    known.refresh()
    assert (7 in known, known.trouble) == (True, "")


def test_without_a_list_nothing_is_revoked() -> None:
    known = Withdrawn()
    known.refresh()
    assert (5 in known, known.mark, known.trouble) == (False, "", "")
