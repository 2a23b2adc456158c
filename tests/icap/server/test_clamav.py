"""A clamd of our own: which signatures, how it starts, how it ends."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from icap.server.clamav import ClamdFailed, ClamdTuning, ManagedClamd
from icap.server.scanners.clamd import ClamdScanner
from icap.server.scanners.daemon import Daemon
from icap.server.scanners.scanner import ScanOutcome, ScanResult
from icap.server.signatures import choose, eicar
from tests.servers import EICAR

pytestmark = pytest.mark.integration


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, because a socket's path is; open to all, as an installation's is, so that clamd can be another user."""
    with tempfile.TemporaryDirectory(prefix="arcus-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def scan(managed: ManagedClamd, *chunks: bytes) -> ScanResult:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return asyncio.run(ClamdScanner(managed.endpoint).scan(body()))


def test_the_test_string_is_the_right_one_and_not_in_the_source() -> None:
    assert eicar() == EICAR
    source = Path(choose.__code__.co_filename).read_bytes()
    assert EICAR not in source
    assert EICAR.hex().encode() not in source


@pytest.mark.parametrize("name", ["main.cvd", "daily.cld", "own.cud"])
def test_system_signatures_are_taken_when_there_are_any(tmp_path: Path, name: str) -> None:
    system = tmp_path / "system"
    system.mkdir()
    (system / "freshclam.dat").touch()
    assert choose(tmp_path / "own", system).kind == "eicar-only"
    (system / name).touch()
    chosen = choose(tmp_path / "own", system)
    assert (chosen.kind, chosen.directory) == ("system", system)
    assert choose(tmp_path / "own", tmp_path / "none").kind == "eicar-only"


def test_icp_12_managed_clamd_starts_scans_and_stops(home: Path) -> None:
    told: list[tuple[str, float]] = []
    managed = ManagedClamd(home / "clam", system=home / "none")
    managed.start(progress=lambda text, seconds: told.append((text, seconds)))
    try:
        assert managed.signatures == managed.database == "eicar-only"
        assert told
        assert "eicar-only" in told[0][0]
        assert scan(managed, EICAR).outcome is ScanOutcome.INFECTED
        assert scan(managed, b"--boundary\r\n\r\n", EICAR, b"\r\n--boundary--").outcome is ScanOutcome.INFECTED
        assert scan(managed, b"clean").outcome is ScanOutcome.CLEAN
        pid = managed.pid
        assert pid
    finally:
        managed.stop()
    assert not managed.alive
    assert managed.pid == 0
    assert not Path(f"/proc/{pid}").exists()
    assert not managed.socket.exists()
    managed.stop()  # twice does nothing


def test_the_limits_are_ours(home: Path) -> None:
    with ManagedClamd(home / "clam", ClamdTuning(max_size=100_000), system=home / "none") as managed:
        assert scan(managed, bytes(100_000)).outcome is ScanOutcome.CLEAN
        assert scan(managed, bytes(100_001)).outcome is ScanOutcome.ERROR
        lines = managed.config.read_text().splitlines()
    assert "AlertExceedsMax yes" in lines
    assert "MaxConnectionQueueLength 200" in lines


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_runs_it_as_clamav_and_keeps_its_configuration_to_itself(home: Path) -> None:
    with ManagedClamd(home / "clam", system=home / "none") as managed:
        owner = Path(f"/proc/{managed.pid}").stat().st_uid
        assert owner != 0
        assert managed.config.stat().st_uid == 0
        assert (home / "clam").stat().st_uid == 0
        assert managed.socket.stat().st_uid == owner


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to become")
def test_it_works_without_root(home: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from icap.server.clamav import ManagedClamd
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with ManagedClamd(Path(sys.argv[1]), system=Path("/none")) as managed:
    print(managed.signatures, managed.alive, Path(f"/proc/{managed.pid}").stat().st_uid)
"""
    (home / "clam").mkdir()
    os.chown(home / "clam", 65534, 65534)
    done = subprocess.run([sys.executable, "-c", code, home / "clam"], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["eicar-only", "True", "65534"], done.stderr


def test_a_clamd_left_over_is_ended_before_ours_starts(home: Path) -> None:
    orphan = ManagedClamd(home / "clam", system=home / "none")
    orphan.start()
    pid = orphan.pid
    with ManagedClamd(home / "clam", system=home / "none") as managed:
        assert managed.pid != pid
        orphan._process.wait(10)  # type: ignore[union-attr]
        assert Daemon(managed.endpoint).ping()


def test_a_pid_that_belongs_to_somebody_else_is_left_alone(home: Path) -> None:
    (home / "clam").mkdir()
    (home / "clam" / "child.pid").write_text(str(os.getpid()))
    with ManagedClamd(home / "clam", system=home / "none") as managed:
        assert managed.alive


def test_what_does_not_start_says_why_and_leaves_nothing(home: Path) -> None:
    with pytest.raises(ClamdFailed, match="not installed"):
        ManagedClamd(home / "clam", program="no-such-clamd").start()
    managed = ManagedClamd(home / "clam", ClamdTuning(extra=("NoSuchOption yes",)), system=home / "none")
    with pytest.raises(ClamdFailed, match="NoSuchOption"):
        managed.start()
    assert not managed.alive
    broken = home / "broken"
    broken.mkdir()
    (broken / "daily.cvd").write_bytes(b"ClamAV-VDB:nonsense")
    started = time.monotonic()
    with pytest.raises(ClamdFailed):
        ManagedClamd(home / "clam", system=broken).start(timeout=30)
    assert time.monotonic() - started < 60


def test_a_socket_path_that_is_too_long_is_told_before_the_start(home: Path) -> None:
    with pytest.raises(ClamdFailed, match="longer than"):
        ManagedClamd(home / ("x" * 120)).start()
