"""The file by which workers know who accepts the next CA; D8."""

import os
from pathlib import Path

import pytest

from appliance.app import ready_clients
from appliance.app.ready_clients import FILE, ReadyClients, tell

CA = "a" * 64


def test_what_is_told_is_known(tmp_path: Path) -> None:
    known = ReadyClients(tmp_path)
    known.file.refresh()
    assert not known.knows(CA, "10.0.0.1")
    tell(tmp_path, {CA: ["10.0.0.1"], "b" * 64: []})
    known.file.refresh()
    assert known.knows(CA, "10.0.0.1")
    assert not known.knows("b" * 64, "10.0.0.1")
    assert not known.knows(CA, "10.0.0.2")
    (tmp_path / FILE).unlink()
    known.file.refresh()
    assert not known.knows(CA, "10.0.0.1")


@pytest.mark.security
@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 5}', "\xff"])
def test_a_file_that_cannot_be_read_makes_nobody_ready_who_was_not(tmp_path: Path, text: str) -> None:
    known = ReadyClients(tmp_path)
    tell(tmp_path, {CA: ["10.0.0.1"]})
    known.file.refresh()
    (tmp_path / FILE).write_text(text, encoding="latin-1")
    os.utime(tmp_path / FILE, (1, 1))
    known.file.refresh()
    fresh = ReadyClients(tmp_path)
    fresh.file.refresh()
    assert (known.knows(CA, "10.0.0.1"), fresh.knows(CA, "10.0.0.1")) == (True, False)
    assert known.file.trouble


def test_the_list_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready_clients, "MAX_CLIENTS", 2)
    tell(tmp_path, {CA: ["1", "2", "3"], "b" * 64: ["4"]})
    known = ReadyClients(tmp_path)
    known.file.refresh()
    assert [known.knows(CA, ip) for ip in "123"] == [True, True, False]
    assert not known.knows("b" * 64, "4")
