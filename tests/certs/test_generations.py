"""The folders of a rotation; C21."""

from pathlib import Path

import pytest

from certs.authority import load_or_create
from certs.generations import Generation, GenerationError, Generations

CURRENT, NEXT, PREVIOUS = Generation


@pytest.fixture
def made(tmp_path: Path) -> Generations:
    place = Generations(tmp_path / "ca", "main")
    place.install(CURRENT, b"old certificate", b"old key")
    place.install(NEXT, b"new certificate", b"new key")
    return place


def keys(place: Generations) -> dict[str, bytes]:
    return {str(each): place.key(each).read_bytes() for each in place.present()}


def test_a_switch_and_its_way_back(made: Generations) -> None:
    assert keys(made) == {"current": b"old key", "next": b"new key"}
    made.switch()
    assert keys(made) == {"current": b"new key", "previous": b"old key"}
    assert made.certificate(CURRENT).read_bytes() == b"new certificate"
    made.rollback()
    assert keys(made) == {"current": b"old key", "next": b"new key"}


def test_a_step_without_its_ca_changes_nothing(made: Generations, tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="only a switch can be taken back"):
        made.rollback()
    made.drop(NEXT)
    with pytest.raises(GenerationError, match="make one with `arcus ca rotate`"):
        made.switch()
    with pytest.raises(GenerationError, match="there is no next CA"):
        made.drop(NEXT)
    with pytest.raises(GenerationError, match="there is no next CA"):
        Generations(tmp_path / "none", "main").switch()
    assert keys(made) == {"current": b"old key"}


def test_a_previous_one_is_never_deleted_by_a_switch(made: Generations) -> None:
    made.switch()
    made.install(NEXT, b"third certificate", b"third key")
    with pytest.raises(GenerationError, match="there is a previous CA already; `arcus ca drop --generation previous`"):
        made.switch()
    with pytest.raises(GenerationError, match="there is a next CA already"):
        made.rollback()
    made.drop(PREVIOUS)
    made.switch()
    assert keys(made) == {"current": b"third key", "previous": b"new key"}


def test_the_one_that_signs_is_not_dropped_and_none_is_overwritten(made: Generations) -> None:
    with pytest.raises(ValueError):
        made.drop(CURRENT)
    for generation in (CURRENT, NEXT):
        with pytest.raises(GenerationError, match="already"):
            made.install(generation, b"x", b"y")
    assert keys(made) == {"current": b"old key", "next": b"new key"}


@pytest.mark.security
def test_everything_is_for_its_owner_alone(made: Generations) -> None:
    for path in made.home(CURRENT).parent.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("step", ["switch", "rollback"])
def test_a_change_over_that_was_killed_half_way_is_finished_by_the_next_start(tmp_path: Path, step: str) -> None:
    """Else the next start would find no CA, and make one that no client knows."""
    directory = tmp_path / "ca"
    current = load_or_create(directory, "main", "One")
    place = Generations(directory, "main")
    source, target = (NEXT, PREVIOUS) if step == "switch" else (PREVIOUS, NEXT)
    other = load_or_create(directory, place.home(source).name, "Two")
    place.home(CURRENT).rename(place.home(target))
    found = load_or_create(directory, "main", "Three")
    assert found.fingerprint in {current.fingerprint, other.fingerprint}
    assert len(place.present()) == 2


def test_names_that_look_like_generations_do_not_meet(tmp_path: Path) -> None:
    one, other = Generations(tmp_path, "main"), Generations(tmp_path, "main.next")
    homes = [place.home(generation) for place in (one, other) for generation in Generation]
    assert len(set(homes)) == 6


def test_c21_a_generation_in_a_token_knows_its_key_wherever_it_goes(tmp_path: Path) -> None:
    place = Generations(tmp_path / "ca", "main")
    place.install(CURRENT, b"old certificate", b"")
    assert (place.label(CURRENT), place.label(NEXT)) == ("", "")
    assert sorted(each.name for each in place.home(CURRENT).iterdir()) == ["ca.pem"]
    place.remember_label(CURRENT, "one")
    place.remember_label(CURRENT, "what the configuration came to say")
    place.install(NEXT, b"new certificate", b"", "two")
    place.switch()
    assert (place.label(CURRENT), place.label(PREVIOUS)) == ("two", "one")
