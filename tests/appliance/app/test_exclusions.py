"""From the admin process to the workers: a file, replaced whole, read when it has changed."""

from pathlib import Path

import pytest

from appliance.app.exclusions import SnapshotReader, SnapshotWriter
from appliance.domain.exclusion import MAX_SNAPSHOT, Kind, Learned
from appliance.policy.exclusions import Exclusions

ENTRY = Learned("x", "a", "h.test", "", Kind.MTLS, "r", 1e10, 0)


def test_the_workers_follow_the_file(tmp_path: Path) -> None:
    path, known = tmp_path / "exclusions.json", Exclusions({}, lambda: 1.0)
    writer, reader = SnapshotWriter(path), SnapshotReader(path, known)
    reader.refresh()
    assert len(known) == 0
    writer.write([ENTRY])
    reader.refresh()
    assert len(known) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_ino
    writer.write([ENTRY])
    assert path.stat().st_ino == before, "what has not changed is not written again"
    writer.write([])
    reader.refresh()
    assert len(known) == 0


@pytest.mark.security
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b" " * (MAX_SNAPSHOT + 1)], ids=["empty", "cut", "other", "too large"])
def test_without_a_list_that_can_be_read_nothing_is_excluded(tmp_path: Path, data: bytes) -> None:
    path, known = tmp_path / "exclusions.json", Exclusions({}, lambda: 1.0)
    reader = SnapshotReader(path, known)
    SnapshotWriter(path).write([ENTRY])
    reader.refresh()
    path.write_bytes(data)
    reader.refresh()
    assert len(known) == 0
    assert reader.error.startswith("the list of exclusions cannot be read")
    path.unlink()
    reader.refresh()
    assert (len(known), reader.error) == (0, "")
