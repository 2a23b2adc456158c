"""ICP-13: YARA-X rules: found, replaced when they change, kept when they do not compile, and never clean without any."""

import asyncio
from pathlib import Path

import pytest

from appliance.domain.reason import Reason
from icap.server.scanners import yara
from icap.server.scanners.scanner import ScanOutcome
from icap.server.scanners.yara import YaraScanner, YaraSettings
from tests.icap.server.scanners.scripted import pieces

pytest.importorskip("yara_x")

RULE = 'rule marker { strings: $a = "find-me-7f3a" condition: $a }\n'
MIB = 1 << 20


async def scanner(directory: Path, **settings: object) -> YaraScanner:
    made = YaraScanner(YaraSettings(directory, **settings))  # type: ignore[arg-type]
    await made.reload()
    return made


@pytest.mark.parametrize("padding", [0, 100, 3 * MIB])
async def test_icp_13_a_rule_matches_in_memory_and_in_a_file(tmp_path: Path, padding: int) -> None:
    (tmp_path / "a.yar").write_text(RULE)
    rules = await scanner(tmp_path)
    found = await rules.scan(pieces(bytes(padding), b"find-", b"me-7f3a"))
    assert (found.outcome, found.signature, found.size) == (ScanOutcome.INFECTED, "marker", padding + 12)
    assert len(found.sha256) == 64
    assert (await rules.scan(pieces(bytes(padding), b"clean"))).outcome is ScanOutcome.CLEAN
    assert (await rules.scan(pieces())).outcome is ScanOutcome.CLEAN


async def test_icp_13_changed_rules_are_used_and_rules_that_do_not_compile_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yar").write_text(RULE)
    rules = await scanner(tmp_path)
    before = rules.fingerprint
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.yara").write_text("rule two {\n condition: nothing_known\n}\n")
    await rules.reload()
    assert f"{tmp_path}/sub/b.yara:2: unknown identifier" in rules.health.detail
    assert rules.health.up
    assert rules.fingerprint == before
    assert (await rules.scan(pieces(b"find-me-7f3a"))).signature == "marker"
    # the same name in another file is no conflict
    (tmp_path / "sub" / "b.yara").write_text('rule marker { strings: $a = "other" condition: $a }')
    await rules.reload()
    assert rules.health.detail == ""
    assert rules.fingerprint != before
    assert (await rules.scan(pieces(b"other"))).outcome is ScanOutcome.INFECTED


async def test_icp_12_without_rules_or_library_there_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = await scanner(tmp_path)
    result = await rules.scan(pieces(b"x"))
    assert (result.outcome, result.reason) == (ScanOutcome.ERROR, Reason.SCANNER_UNREACHABLE)
    assert "no *.yar" in rules.health.detail
    monkeypatch.setattr(yara, "installed", lambda: False)
    (tmp_path / "a.yar").write_text(RULE)
    await rules.reload()
    assert "pip install 'yara-x" in rules.health.detail
    assert (await rules.scan(pieces(b"x"))).outcome is ScanOutcome.ERROR


@pytest.mark.parametrize(("size", "outcome"), [(1000, ScanOutcome.CLEAN), (1001, ScanOutcome.ERROR)])
async def test_the_size_limit_is_exact(tmp_path: Path, size: int, outcome: ScanOutcome) -> None:
    (tmp_path / "a.yar").write_text(RULE)
    assert (await (await scanner(tmp_path, max_size=1000)).scan(pieces(bytes(size)))).outcome is outcome


async def test_icp_12_a_scan_that_takes_too_long_is_an_error(tmp_path: Path) -> None:
    """A rule that counts for longer than the library's deadline."""
    (tmp_path / "a.yar").write_text("rule slow { condition: for all i in (0..100000000000): ( uint8(i % filesize) != 255 ) }")
    result = await (await scanner(tmp_path, timeout=1.0)).scan(pieces(bytes(1000)))
    assert (result.outcome, result.reason) == (ScanOutcome.ERROR, Reason.SCANNER_TIMEOUT)


async def test_no_more_scans_at_once_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yar").write_text(RULE)
    rules = await scanner(tmp_path, concurrency=2)
    running, most = 0, 0
    real = yara._match

    def counted(*args: object) -> yara._Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return real(*args)  # type: ignore[arg-type]
        finally:
            running -= 1

    monkeypatch.setattr(yara, "_match", counted)
    results = await asyncio.gather(*(rules.scan(pieces(bytes(100_000))) for _ in range(20)))
    assert {result.outcome for result in results} == {ScanOutcome.CLEAN}
    assert most <= 2
