"""ICP-12, ICP-13: the scanner against a real clamd: found, clean, limits, reload, gone and back, ended in the middle."""

import asyncio
import contextlib
import hashlib
import io
import os
import signal
import socket
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from appliance.domain.reason import Reason
from icap.server.scanners.clamd import ClamdScanner, ClamdSettings
from icap.server.scanners.daemon import Daemon, DaemonError
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.scanner import ScanOutcome
from icap.server.scanners.stream_limit import STEP, stream_limit
from tests.servers import EICAR, EICAR_NAME, MARKER, Clamd, clamd

pytestmark = pytest.mark.integration
MIB = 1 << 20


@pytest.fixture(scope="module")
def daemon() -> Iterator[Clamd]:
    with clamd(f"StreamMaxLength {MIB}\nMaxFileSize {MIB}") as running:
        yield running


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_icp_13_a_find_has_signature_engine_time_size_and_hash(daemon: Clamd, kind: str) -> None:
    endpoint = Endpoint.unix(daemon.socket) if kind == "unix" else Endpoint.tcp(f"127.0.0.1:{daemon.port}")
    scanner = ClamdScanner(endpoint, ClamdSettings(database="by-hand"))
    await scanner.start()
    try:
        result = await scanner.scan(pieces(EICAR[:30], EICAR[30:]))
    finally:
        await scanner.close()
    assert result.outcome is ScanOutcome.INFECTED
    assert result.signature == EICAR_NAME
    assert result.engine.startswith("ClamAV ")
    assert result.engine.endswith("/by-hand")
    assert result.ms >= 0
    assert result.size == 68
    assert result.sha256 == hashlib.sha256(EICAR).hexdigest()
    assert scanner.health.up


@pytest.mark.parametrize("body", [b"", b"x", bytes(MIB)])
async def test_clean_up_to_exactly_clamds_limit(daemon: Clamd, body: bytes) -> None:
    result = await ClamdScanner(Endpoint.unix(daemon.socket)).scan(pieces(body))
    assert (result.outcome, result.size) == (ScanOutcome.CLEAN, len(body))


@pytest.mark.parametrize("size", [MIB + 1, 8 * MIB])
async def test_icp_12_above_clamds_limit_is_an_error_even_when_the_find_is_in_front(daemon: Clamd, size: int) -> None:
    scanner = ClamdScanner(Endpoint.unix(daemon.socket))
    for _ in range(10):
        chunks = [MARKER, *[bytes(65536)] * (size // 65536), bytes(size % 65536)]
        result = await scanner.scan(pieces(*chunks))
        assert result.outcome is ScanOutcome.ERROR
        assert result.reason is Reason.BODY_TOO_LARGE


async def test_a_marker_across_two_frames_is_found(daemon: Clamd) -> None:
    result = await ClamdScanner(Endpoint.unix(daemon.socket)).scan(pieces(bytes(65530), MARKER, bytes(100)))
    assert result.signature == "Test.Marker.UNOFFICIAL"


async def test_many_at_once_each_get_their_own_verdict(daemon: Clamd) -> None:
    scanner = ClamdScanner(Endpoint.unix(daemon.socket))

    async def one(number: int) -> bool:
        body = MARKER if number % 3 == 0 else b"clean %d" % number
        result = await scanner.scan(pieces(body))
        assert result.outcome is not ScanOutcome.ERROR, result
        return (result.outcome is ScanOutcome.INFECTED) == (number % 3 == 0)

    assert all(await asyncio.gather(*(one(number) for number in range(200))))


async def test_the_fingerprint_follows_the_database_after_a_reload(daemon: Clamd) -> None:
    scanner = ClamdScanner(Endpoint.unix(daemon.socket), ClamdSettings(refresh=0.05))
    await scanner.start()
    before = scanner.fingerprint
    (daemon.base / "db" / "more.ndb").write_text("More:0:*:6d6f72652d746f2d66696e64\n")
    await scanner.reload()
    while (await scanner.scan(pieces(b"more-to-find %d" % os.urandom(1)[0]))).outcome is not ScanOutcome.INFECTED:
        await asyncio.sleep(0.02)
    assert scanner.fingerprint.partition("|")[0] == before.partition("|")[0] == await asyncio.to_thread(_version, daemon)
    await scanner.close()
    assert ClamdScanner(Endpoint.unix(daemon.socket), ClamdSettings(max_size=1)).fingerprint != before


def _version(daemon: Clamd) -> str:
    return Daemon(Endpoint.unix(daemon.socket)).version()


def test_daemon_questions(daemon: Clamd) -> None:
    for endpoint in (Endpoint.unix(daemon.socket), Endpoint.tcp(f"127.0.0.1:{daemon.port}")):
        asked = Daemon(endpoint)
        assert asked.ping()
        assert asked.version().startswith("ClamAV ")
        assert "THREADS" in asked.stats()


def test_a_daemon_that_is_not_there_says_so(tmp_path: Path) -> None:
    asked = Daemon(Endpoint.unix(tmp_path / "none"))
    assert not asked.ping()
    for question in (asked.version, asked.reload, asked.stats):
        with pytest.raises(DaemonError):
            question()


async def test_icp_12_down_is_an_error_and_up_again_is_used_at_once(tmp_path: Path) -> None:
    """The scanner outlives three clamds on one port: none yet, one, none again, another."""
    with clamd() as first:
        port = first.port
        scanner = ClamdScanner(Endpoint.tcp(f"127.0.0.1:{port}"))
        assert (await scanner.scan(pieces(EICAR))).outcome is ScanOutcome.INFECTED
    assert (await scanner.scan(pieces(EICAR))).reason is Reason.SCANNER_UNREACHABLE
    await scanner.refresh()
    assert not scanner.health.up
    with clamd(port=port):
        assert (await scanner.scan(pieces(EICAR))).outcome is ScanOutcome.INFECTED
        await scanner.refresh()
        assert scanner.health.up


async def test_icp_12_ended_in_the_middle_of_a_stream_is_an_error() -> None:
    with clamd() as victim:
        scanner = ClamdScanner(Endpoint.unix(victim.socket))

        async def body() -> AsyncIterator[bytes]:
            yield bytes(200_000)
            os.kill(victim.pid, signal.SIGKILL)
            yield bytes(200_000)
            yield EICAR

        result = await scanner.scan(body())
    assert result.outcome is ScanOutcome.ERROR
    assert result.reason in (Reason.SCANNER_ERROR, Reason.SCANNER_UNREACHABLE)


@contextlib.contextmanager
def silent() -> Iterator[Endpoint]:
    """A clamd that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield Endpoint.tcp(f"127.0.0.1:{listener.getsockname()[1]}")


def nobody() -> Endpoint:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return Endpoint.tcp(f"127.0.0.1:{listener.getsockname()[1]}")


async def test_icp_12_of_several_one_that_is_down_is_passed_over(daemon: Clamd) -> None:
    scanner = ClamdScanner([nobody(), Endpoint.unix(daemon.socket)], ClamdSettings(connect_timeout=0.5))
    for _ in range(6):
        assert (await scanner.scan(pieces(EICAR))).outcome is ScanOutcome.INFECTED
    body = [bytes(100_000), MARKER]
    assert (await scanner.scan(pieces(*body))).outcome is ScanOutcome.INFECTED
    await scanner.refresh()
    assert scanner.health.up
    assert "refused" in scanner.health.detail


async def test_icp_12_one_that_hangs_is_an_error_once_and_then_avoided(daemon: Clamd) -> None:
    with silent() as hung:
        scanner = ClamdScanner([hung, Endpoint.unix(daemon.socket)], ClamdSettings(timeout=0.3, suspicion=60))
        await scanner._nodes[1].refresh()
        results = [await scanner.scan(pieces(EICAR)) for _ in range(8)]
    assert {result.outcome for result in results[2:]} == {ScanOutcome.INFECTED}
    assert all(result.outcome is not ScanOutcome.CLEAN for result in results)


async def test_icp_12_scans_go_round_where_all_are_well() -> None:
    with clamd() as one, clamd() as two:
        scanner = ClamdScanner([Endpoint.unix(one.socket), Endpoint.unix(two.socket)])
        await scanner.refresh()
        for _ in range(10):
            await scanner.scan(pieces(EICAR))
        async with asyncio.timeout(60):  # clamd writes to its log when it has answered
            while sum(finds := [(each.base / "clamd.log").read_text().count("FOUND") for each in (one, two)]) < 10:
                await asyncio.sleep(0.02)
        assert finds == [5, 5]
        await scanner.close()


async def test_icp_12_none_of_several_is_an_error() -> None:
    scanner = ClamdScanner([nobody(), nobody()])
    result = await scanner.scan(pieces(EICAR))
    assert (result.outcome, result.reason) == (ScanOutcome.ERROR, Reason.SCANNER_UNREACHABLE)
    assert not scanner.health.up


@pytest.mark.parametrize("wanted", [MIB - STEP, MIB, MIB + 1, 32 * MIB])
async def test_clamds_limit_is_found_without_sending_a_body(daemon: Clamd, wanted: int) -> None:
    found = await stream_limit(Endpoint.unix(daemon.socket), wanted)
    assert min(wanted, MIB) - STEP <= found <= min(wanted, MIB)


async def test_icp_12_a_body_above_the_limit_that_was_found_is_not_sent(daemon: Clamd) -> None:
    scanner = ClamdScanner(Endpoint.unix(daemon.socket), ClamdSettings(max_size=32 * MIB))
    await scanner.start()
    try:
        while scanner._nodes[0].limit > MIB:
            await asyncio.sleep(0.02)
        result = await scanner.scan(pieces(*[bytes(65_536)] * 100))
    finally:
        await scanner.close()
    assert result.reason is Reason.BODY_TOO_LARGE
    assert result.size <= MIB + 65_536


def encrypted_zip() -> bytes:
    """The flag that says so, in the local header and in the directory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("secret.bin", os.urandom(2000))
    data = bytearray(out.getvalue())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


@pytest.mark.parametrize("block", [True, False])
async def test_icp_13_encrypted_is_a_verdict_of_its_own(block: bool) -> None:
    with clamd("AlertEncrypted yes") as running:
        scanner = ClamdScanner(Endpoint.unix(running.socket), ClamdSettings(block_encrypted=block))
        result = await scanner.scan(pieces(encrypted_zip()))
        assert (await scanner.scan(pieces(EICAR))).outcome is ScanOutcome.INFECTED
    if block:
        assert (result.outcome, result.reason) == (ScanOutcome.BLOCKED, Reason.ENCRYPTED_CONTENT)
        assert result.signature.startswith("Heuristics.Encrypted.")
    else:
        assert (result.outcome, result.unscanned, result.signature) == (ScanOutcome.CLEAN, "encrypted", "")


def test_icap_s03_policy_is_in_the_fingerprint() -> None:
    endpoint = nobody()
    assert ClamdScanner(endpoint, ClamdSettings(block_encrypted=False)).fingerprint != ClamdScanner(endpoint).fingerprint
