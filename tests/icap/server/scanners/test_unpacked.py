"""ICP-13: what Content-Encoding gzip hides is shown to the scanners that do not look behind it."""

import gzip
import hashlib
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.app.panel import build
from appliance.app.paths import StatePaths
from appliance.config.icap_server import IcapServer
from appliance.domain.reason import Reason
from icap.server.scanners.hashes import HashScanner, HashSettings
from icap.server.scanners.scanner import Grounds, ScanOutcome, Subject
from icap.server.scanners.unpacked import Unpacked
from tests.icap.server.scanners.scripted import cut, pieces

BAD = b"listed " * 50_000
GZIP = Subject(coding="gzip")


async def listing(path: Path, data: bytes = BAD, most: int = 1 << 20) -> Unpacked:
    path.write_text(f"{hashlib.sha256(data).hexdigest()} Bad\n")
    scanner = HashScanner(HashSettings((path,)))
    await scanner.reload()
    return Unpacked(scanner, "hashes", most)


@pytest.mark.security
@pytest.mark.parametrize("kind", ["hashes", "yara"])
async def test_icp_13_what_is_listed_is_found_behind_gzip(tmp_path: Path, kind: str) -> None:
    """The scanners as they are configured."""
    if kind == "yara":
        pytest.importorskip("yara_x")
    (tmp_path / "bad").write_text(f"{hashlib.sha256(BAD).hexdigest()} Bad\n")
    (tmp_path / "bad.yar").write_text('rule Bad { strings: $a = "listed listed" condition: $a }')
    node = {"files": [tmp_path / "bad"]} if kind == "hashes" else {"directory": tmp_path}
    config = IcapServer.model_validate({"listen": {"address": "127.0.0.1:1344"}, "scanners": [{"type": kind, **node}]})
    scanner = build(config, StatePaths(tmp_path))
    await scanner.start()
    try:
        result = await scanner.scan(pieces(gzip.compress(BAD)), GZIP)
    finally:
        await scanner.close()
    assert (result.outcome, result.signature) == (ScanOutcome.INFECTED, "Bad")


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 400), max_size=30), members=st.integers(1, 3), level=st.integers(0, 9))
async def test_it_is_unpacked_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], members: int, level: int
) -> None:
    scanner = await listing(tmp_path_factory.mktemp("list") / "list")
    part = len(BAD) // members + 1
    packed = b"".join(gzip.compress(BAD[at : at + part], level) for at in range(0, len(BAD), part))
    result = await scanner.scan(cut(packed, sizes), GZIP)
    assert (result.outcome, result.size) == (ScanOutcome.INFECTED, len(packed))
    assert result.sha256 == hashlib.sha256(packed).hexdigest()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"not gzip"),
        ("gzip", gzip.compress(BAD, mtime=0)[:-1]),
        ("gzip", gzip.compress(BAD, mtime=0) + b"junk"),
        ("br", b"x"),
        ("gzip, gzip", gzip.compress(gzip.compress(BAD, mtime=0), mtime=0)),
    ],
)
async def test_what_cannot_be_read_has_no_verdict(tmp_path: Path, coding: str, body: bytes) -> None:
    result = await (await listing(tmp_path / "list")).scan(pieces(body), Subject(coding=coding))
    assert (result.outcome, result.reason, result.scanner) == (ScanOutcome.ERROR, Reason.NOT_SCANNABLE, "hashes")


@pytest.mark.parametrize(("size", "outcome"), [(1 << 20, ScanOutcome.CLEAN), ((1 << 20) + 1, ScanOutcome.ERROR)])
async def test_it_unpacks_so_much_and_no_more(tmp_path: Path, size: int, outcome: ScanOutcome) -> None:
    result = await (await listing(tmp_path / "list")).scan(pieces(gzip.compress(bytes(size))), GZIP)
    assert result.outcome is outcome


@pytest.mark.parametrize(("count", "outcome"), [(1000, ScanOutcome.CLEAN), (1001, ScanOutcome.ERROR)])
async def test_members_hold_something(tmp_path: Path, count: int, outcome: ScanOutcome) -> None:
    result = await (await listing(tmp_path / "list")).scan(pieces(gzip.compress(b"") * count), GZIP)
    assert result.outcome is outcome


async def test_what_is_not_packed_is_judged_as_it_is(tmp_path: Path) -> None:
    scanner = await listing(tmp_path / "list", zlib.compress(BAD))
    assert scanner.grounds is Grounds.CODING
    assert (await scanner.scan(pieces(zlib.compress(BAD)))).outcome is ScanOutcome.INFECTED
    assert (await scanner.scan(pieces(b""), GZIP)).outcome is ScanOutcome.CLEAN
