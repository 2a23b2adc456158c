"""From the admin process to the workers: a file, replaced whole, read when it has changed."""

from pathlib import Path

import pytest

from appliance.app.exclusions import SnapshotWriter, snapshot
from appliance.domain.exclusion import MAX_SNAPSHOT, Kind, Learned
from appliance.policy.exclusions import Exclusions

ENTRY = Learned("x", "a", "h.test", "", Kind.MTLS, "r", 1e10, 0)


def test_the_workers_follow_the_file(tmp_path: Path) -> None:
    path, known = tmp_path / "exclusions.json", Exclusions({}, lambda: 1.0)
    writer, reader = SnapshotWriter(path), snapshot(path, known)
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
def test_by_a_list_that_cannot_be_read_nothing_is_excluded_that_was_not_before(tmp_path: Path, data: bytes) -> None:
    path, known, fresh = tmp_path / "exclusions.json", Exclusions({}, lambda: 1.0), Exclusions({}, lambda: 1.0)
    reader = snapshot(path, known)
    SnapshotWriter(path).write([ENTRY])
    reader.refresh()
    path.write_bytes(data)
    reader.refresh()
    assert len(known) == 1, "what was known holds until its own end"
    late = snapshot(path, fresh)
    late.refresh()
    assert len(fresh) == 0
    assert str(path) in reader.trouble
    assert late.trouble == reader.trouble
    path.unlink()
    reader.refresh()
    assert (len(known), reader.trouble) == (0, "")
