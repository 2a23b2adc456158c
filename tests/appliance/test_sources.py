"""Parent and children must be of one code: what makes it another."""

from pathlib import Path

from appliance import sources


def test_any_change_of_any_source_file_counts_and_nothing_else(tmp_path: Path) -> None:
    for package in sources.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    first = sources.fingerprint(tmp_path)
    (tmp_path / "certs" / "notes.txt").write_text("not code")
    (tmp_path / "certs" / "__init__.py").touch()
    assert sources.fingerprint(tmp_path) == first
    (tmp_path / "icap" / "more.py").write_text("")
    second = sources.fingerprint(tmp_path)
    (tmp_path / "icap" / "more.py").rename(tmp_path / "certs" / "more.py")
    third = sources.fingerprint(tmp_path)
    (tmp_path / "certs" / "more.py").write_text("x = 1\n")
    assert len({first, second, third, sources.fingerprint(tmp_path)}) == 4
