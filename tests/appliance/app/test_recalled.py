"""D6: verdicts on a body that was found bad since count no more."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.app.recalled import MAX_ENTRIES, Recalled, RecalledWriter, parse


def test_what_is_written_is_known_to_workers(tmp_path: Path) -> None:
    file = tmp_path / "recalled.json"
    known, writer = Recalled(file), RecalledWriter(file)
    assert known.since("a" * 64) == 0.0
    writer.write({"a" * 64: 5.5})
    known.file.refresh()
    assert (known.since("a" * 64), known.since("b" * 64)) == (5.5, 0.0)
    before = file.stat().st_ino
    writer.write({"a" * 64: 5.5})
    assert file.stat().st_ino == before
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.security
@pytest.mark.parametrize(("more", "floor"), [(0, 0.0), (1, 5.0)])
def test_ten_03_what_is_not_listed_any_more_counts_for_all(tmp_path: Path, more: int, floor: float) -> None:
    """The find of one tenant is not pushed out by those of another; at the limit, and one above it."""
    file = tmp_path / "recalled.json"
    known, writer = Recalled(file), RecalledWriter(file)
    others = {f"{number:064x}": 100.0 + number for number in range(MAX_ENTRIES - 1 + more)}
    writer.write(others | {"f" * 64: 5.0})
    known.file.refresh()
    assert not known.file.trouble
    assert (known.since("f" * 64), known.since("e" * 64)) == (5.0, floor)
    assert known.since(f"{7:064x}") == 107.0


@pytest.mark.parametrize("text", ["", "[]", "3", '{"a": 1}', '{"%s": "x"}' % ("a" * 64), "[" * 100_000])
def test_what_nobody_of_ours_wrote_changes_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recalled.json"
    file.write_text(json.dumps({"a" * 64: 5.0}))
    known = Recalled(file)
    known.file.refresh()
    file.write_text(text)
    known.file.refresh()
    assert known.since("a" * 64) == 5.0
    assert known.file.trouble


@given(st.binary(max_size=100))
def test_any_bytes_are_borne(data: bytes) -> None:
    try:
        parse(data)
    except ValueError:
        return
