"""ICP-13: several scanners: every byte to each, the strictest verdict, no failure called clean."""

import asyncio
from collections.abc import AsyncIterator
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.server.scanners.panel import Panel, Seat, strictest
from icap.server.scanners.scanner import Grounds, ScannerHealth, ScanOutcome, ScanResult
from tests.icap.server.scanners.scripted import Scripted, pieces

CLEAN = ScanResult(ScanOutcome.CLEAN, engine="A/1", size=3)
ERROR = ScanResult(ScanOutcome.ERROR, reason=Reason.SCANNER_TIMEOUT)
BLOCKED = ScanResult(ScanOutcome.BLOCKED, signature="no-programs", reason=Reason.FILE_TYPE_BLOCKED)
INFECTED = ScanResult(ScanOutcome.INFECTED, signature="Bad", sha256="ab")


def panel(*scanners: Scripted) -> Panel:
    return Panel([Seat(f"s{number}", scanner) for number, scanner in enumerate(scanners)])


@pytest.mark.parametrize(
    ("results", "outcome"),
    [
        ((CLEAN, CLEAN), ScanOutcome.CLEAN),
        ((CLEAN, ERROR), ScanOutcome.ERROR),
        ((CLEAN, BLOCKED, ERROR), ScanOutcome.BLOCKED),
        ((CLEAN, BLOCKED, ERROR, INFECTED), ScanOutcome.INFECTED),
    ],
)
async def test_icp_13_the_strictest_verdict_counts_in_any_order(results: tuple[ScanResult, ...], outcome: ScanOutcome) -> None:
    for order in permutations(results):
        verdict = await panel(*(Scripted(result) for result in order)).scan(pieces(b"abc"))
        assert verdict.outcome is outcome
        assert [part.scanner for part in verdict.parts] == [f"s{number}" for number in range(len(order))]


def test_what_the_others_know_stands_in_the_verdict() -> None:
    verdict = strictest([CLEAN, INFECTED, ERROR])
    assert (verdict.signature, verdict.size, verdict.sha256, verdict.engine) == ("Bad", 3, "ab", "A/1")


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=20), st.integers(1, 4))
async def test_icp_13_each_scanner_sees_every_byte_in_order(body: list[bytes], count: int) -> None:
    scanners = [Scripted() for _ in range(count)]
    await panel(*scanners).scan(pieces(*body))
    assert all(scanner.seen == b"".join(body) for scanner in scanners)


async def test_icp_13_a_scanner_that_raises_is_an_error_and_the_others_go_on() -> None:
    other = Scripted(CLEAN)
    verdict = await panel(Scripted(RuntimeError("bug")), other).scan(pieces(b"a", b"b"))
    assert (verdict.outcome, verdict.reason) == (ScanOutcome.ERROR, Reason.SCANNER_ERROR)
    assert other.seen == b"ab"


async def test_a_scanner_that_has_read_enough_holds_nobody_up() -> None:
    whole = Scripted(CLEAN)
    verdict = await panel(Scripted(BLOCKED, read=1), whole).scan(pieces(*[b"x" * 100] * 50))
    assert verdict.outcome is ScanOutcome.BLOCKED
    assert len(whole.seen) == 5000


async def test_a_body_nobody_reads_any_more_is_not_read_to_its_end() -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x"

    verdict = await panel(Scripted(ERROR, read=1), Scripted(ERROR, read=2)).scan(endless())
    assert verdict.outcome is ScanOutcome.ERROR
    assert asked < 10


async def test_the_slowest_sets_the_pace_so_that_memory_is_constant() -> None:
    gate, asked = asyncio.Event(), 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        for _ in range(1000):
            asked += 1
            yield b"x" * 1000

    fast = Scripted()
    scan = asyncio.create_task(panel(fast, Scripted(gate=gate)).scan(body()))
    for _ in range(200):
        await asyncio.sleep(0)
    assert asked <= 4
    gate.set()
    assert (await scan).outcome is ScanOutcome.CLEAN
    assert len(fast.seen) == 1_000_000


async def test_a_body_that_breaks_off_has_no_verdict_and_ends_all_scans() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(0)
        raise ScanError(Reason.ICAP_PROTOCOL, "half a body")

    scanners = [Scripted(), Scripted()]
    with pytest.raises(ScanError):
        await panel(*scanners).scan(broken())
    assert all(scanner.cancelled for scanner in scanners)


async def test_a_client_that_goes_away_ends_all_scans() -> None:
    scanners = [Scripted(gate=asyncio.Event()), Scripted()]
    scan = asyncio.create_task(panel(*scanners).scan(pieces(b"x", b"y", b"z")))
    for _ in range(20):
        await asyncio.sleep(0)
    scan.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scan
    assert all(scanner.cancelled for scanner in scanners)


def test_icap_s03_the_fingerprint_has_every_scanner_and_its_name() -> None:
    one, two = Scripted(fingerprint="a"), Scripted(fingerprint="b")
    before = panel(one, two).fingerprint
    two.fingerprint = "c"
    assert panel(one, two).fingerprint != before
    assert panel(two, one).fingerprint != panel(one, two).fingerprint


def test_a_panel_is_up_when_all_are_and_judges_by_what_any_judges_by() -> None:
    down = Scripted(health=ScannerHealth(False, detail="refused"), grounds=Grounds.HEAD)
    both = panel(Scripted(), down)
    assert not both.health.up
    assert both.health.detail == "s1: refused"
    assert both.grounds is Grounds.HEAD
    assert panel(Scripted(), Scripted()).health.up


def test_a_panel_without_scanners_would_call_everything_clean() -> None:
    with pytest.raises(ValueError):
        Panel([])
