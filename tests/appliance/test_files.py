"""Small files that are written whole or not at all."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.files import write_new, write_whole


def test_a_file_is_replaced_whole_and_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")
    file.chmod(0o644)
    write_whole(file, b"new")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o600)
    write_whole(file, b"newer", durable=False, modified=1_000.0)
    assert (file.read_bytes(), file.stat().st_mtime) == (b"newer", 1_000.0)
    assert os.listdir(tmp_path) == ["a"]


def test_what_cannot_be_written_leaves_what_was_there_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, b"new")
    with pytest.raises(OSError, match="No space"):
        write_new(tmp_path / "b", b"new")
    assert (os.listdir(tmp_path), file.read_bytes()) == (["a"], b"old")


def test_a_new_file_is_made_once_however_many_make_it(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "key"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: write_new(file, bytes([number])), range(8)))
    assert made.count(True) == 1
    assert file.read_bytes() == bytes([made.index(True)])
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert os.listdir(file.parent) == ["key"]
