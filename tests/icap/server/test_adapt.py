"""ICP-01, ICP-02, ICP-12, ICP-13: what scanning services answer, with a real clamd behind them."""

import asyncio
import dataclasses
import hashlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from icap.server.keep import KeepBudget
from icap.server.scanners.clamd import ClamdScanner, ClamdSettings
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.scanner import UNKNOWN, ScanResult, Subject
from icap.server.settings import ServerSettings
from tests.icap.server.serving import (
    REQUEST_HEAD,
    RESPONSE_HEAD,
    Answer,
    Running,
    WholeBodyScanner,
    chunked,
    options,
    reqmod,
    respmod,
    serving,
)
from tests.servers import EICAR, EICAR_NAME, MARKER, Clamd, clamd

pytestmark = pytest.mark.integration
HEALTH_CHECK = REQUEST_HEAD.replace(b"GET", b"POST").replace(REQUEST_HEAD.split(b" ")[1], b"http://health.invalid/probe")
RETURNED = RESPONSE_HEAD[:-2] + b"Via: ICAP/1.0 arcus\r\n\r\n"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Clamd]:
    with clamd("StreamMaxLength 4M\nMaxFileSize 4M") as running:
        yield running


@pytest.fixture
async def running(daemon: Clamd) -> AsyncIterator[Running]:
    scanner = ClamdScanner(Endpoint.unix(daemon.socket))
    await scanner.start()
    async with serving(scanner) as server:
        yield server
    await scanner.close()


def assert_blocked(answer: Answer, name: str = EICAR_NAME) -> None:
    assert answer.status == 200
    assert answer.headers.first("X-Infection-Found") == f"Type=0; Resolution=2; Threat={name};"
    assert answer.headers.first("X-Virus-ID") == name
    assert answer.headers.first("Cache-Control") == "no-store"
    assert (answer.headers.first("X-Arcus-Scanner") or "").startswith("ClamAV ")
    assert answer.headers.first("Encapsulated") == f"res-hdr=0, res-body={len(answer.head)}"
    assert answer.head.startswith(b"HTTP/1.1 403 ")
    assert answer.body is not None
    assert b"Content-Length: %d\r\n" % len(answer.body) in answer.head
    assert b"Cache-Control: no-store\r\n" in answer.head
    assert EICAR not in answer.body
    assert name.encode() in answer.body


async def test_icp_01_an_infected_upload_is_answered_with_a_page(running: Running) -> None:
    """ICAP-S10, ICAP-S11"""
    assert_blocked(await running.ask(reqmod(EICAR, head=REQUEST_HEAD.replace(b"GET", b"POST"))))


async def test_icp_02_an_infected_download_is_answered_with_a_page(running: Running) -> None:
    """ICAP-S09, ICAP-S11"""
    assert_blocked(await running.ask(respmod(EICAR, "Allow: 204")))


async def test_icp_13_every_verdict_names_the_scanner_and_what_it_saw(running: Running) -> None:
    for body, line in ((EICAR, "Allow: 204"), (b"clean", "Allow: 204"), (b"clean", "X-A: 1")):
        answer = await running.ask(respmod(body, line))
        assert (answer.headers.first("X-Arcus-Scanner") or "").startswith("ClamAV ")
        facts = answer.headers.first("X-Arcus-Scan") or ""
        assert f"size={len(body)}; sha256={hashlib.sha256(body).hexdigest()}" in facts
    scans = [account.scan for account in running.ledger.accounts]
    assert [scan.signature for scan in scans if scan] == [EICAR_NAME, "", ""]
    assert [account.received for account in running.ledger.accounts] == [68, 5, 5]


@pytest.mark.parametrize("split", [0, 1, 30, 67])
async def test_icp_02_a_find_across_the_preview(running: Running, split: int) -> None:
    """ICAP-S05, ICAP-S07"""
    async with await running.open() as client:
        for _ in range(2):  # and the connection stays in step
            client.writer.write(respmod(b"", f"Preview: {split}") + chunked(EICAR[:split]) + b"0\r\n\r\n")
            await client.proceeds()
            client.writer.write(chunked(EICAR[split:], 3) + b"0\r\n\r\n")
            assert_blocked(await client.answer())
        assert (await client.ask(options())).status == 200


async def test_icp_02_a_preview_that_is_everything_gets_its_answer_at_once(running: Running) -> None:
    async with await running.open() as client:
        for body, status in ((EICAR, 200), (b"clean", 204), (b"", 204)):
            answer = await client.ask(respmod(b"", "Preview: 1024") + chunked(body) + b"0; ieof\r\n\r\n")
            assert answer.status == status


async def test_icp_12_204_only_where_it_is_allowed(running: Running) -> None:
    """ICAP-S06"""
    body = b"hello"
    assert (await running.ask(respmod(body, "Allow: 204"))).status == 204
    assert (await running.ask(respmod(body, "Allow: 206, 204, trailers"))).status == 204
    for message in (respmod(body), respmod(body, "Allow: 206")):
        answer = await running.ask(message)
        assert (answer.status, answer.head, answer.body) == (200, RETURNED, body)
    async with await running.open() as client:  # a preview allows 204 only until 100 Continue
        client.writer.write(respmod(b"", "Preview: 4") + b"4\r\nhell\r\n0\r\n\r\n")
        await client.proceeds()
        answer = await client.ask(b"1\r\no\r\n0\r\n\r\n")
        assert (answer.status, answer.head, answer.body) == (200, RETURNED, body)
        client.writer.write(respmod(b"", "Preview: 4", "Allow: 204") + b"4\r\nhell\r\n0\r\n\r\n")
        await client.proceeds()
        assert (await client.ask(b"1\r\no\r\n0\r\n\r\n")).status == 204


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
async def test_icp_02_a_clean_body_comes_back_byte_for_byte(running: Running, size: int) -> None:
    """ICAP-S08"""
    body = os.urandom(size)
    answer = await running.ask(respmod(body))
    assert answer.status == 200
    assert hashlib.sha256(answer.body or b"").digest() == hashlib.sha256(body).digest()


async def test_icp_12_messages_without_a_body_pass(running: Running) -> None:
    """ICAP-C07, ICAP-S04"""
    assert (await running.ask(respmod(None, "Allow: 204"))).status == 204
    assert (await running.ask(reqmod(None, "Preview: 0"))).status == 204
    answer = await running.ask(respmod(None))
    assert (answer.status, answer.head, answer.body) == (200, RETURNED, None)


async def test_icp_12_hop_by_hop_fields_do_not_come_back(running: Running) -> None:
    """ICAP-S08"""
    head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nConnection: x-hop\r\nX-Hop: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await running.ask(respmod(b"x", head=head))
    assert answer.head == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nVia: ICAP/1.0 arcus\r\n\r\n"


@pytest.mark.parametrize("lines", [("Allow: 204",), ()])
async def test_icp_12_above_the_scanners_limit_is_500_and_never_clean(running: Running, lines: tuple[str, ...]) -> None:
    """ICAP-S12"""
    answer = await running.ask(respmod(MARKER + bytes(4 << 20), *lines))
    assert answer.status == 500
    assert answer.headers.first("X-Arcus-Error") == "body_too_large"
    assert running.ledger.accounts[0].reason == "body_too_large"


async def test_icp_12_our_limit_stops_a_body_in_the_middle(daemon: Clamd) -> None:
    scanner = ClamdScanner(Endpoint.unix(daemon.socket), ClamdSettings(max_size=100_000))
    async with serving(scanner) as running:
        assert (await running.ask(respmod(bytes(100_000), "Allow: 204"))).status == 204
        answer = await running.ask(respmod(bytes(50_000_000), "Allow: 204"))
    assert answer.status == 500
    assert answer.headers.first("Connection") == "close"
    assert answer.headers.first("X-Arcus-Error") == "body_too_large"


async def test_icp_12_no_clamd_then_one_then_none_then_one(daemon: Clamd) -> None:
    """ICAP-S12: Never 204 while there is nobody who looks: asked with the test string at each step."""
    with clamd() as first:
        port = first.port
    async with serving(ClamdScanner(Endpoint.tcp(f"127.0.0.1:{port}"))) as running, await running.open() as client:
        for _ in range(2):
            answer = await client.ask(respmod(EICAR, "Allow: 204"))
            assert answer.status == 500
            assert answer.headers.first("X-Arcus-Error") == "scanner_unreachable"
            assert (await client.ask(respmod(b"clean", "Allow: 204"))).status == 500
            with clamd(port=port):
                assert_blocked(await client.ask(respmod(EICAR, "Allow: 204")))
                assert (await client.ask(respmod(b"clean", "Allow: 204"))).status == 204


async def test_icp_12_clamd_ended_in_the_middle_of_a_body_is_500() -> None:
    """ICAP-S12"""
    with clamd() as victim:
        async with serving(ClamdScanner(Endpoint.unix(victim.socket))) as running, await running.open() as client:
            client.writer.write(respmod(b"", "Preview: 0", "Allow: 204") + b"0\r\n\r\n")
            await client.proceeds()
            client.writer.write(chunked(bytes(1_000_000)))
            while not any(session.busy for session in running.server._sessions.values()):
                await asyncio.sleep(0.01)
            os.kill(victim.pid, signal.SIGKILL)
            client.writer.write(chunked(bytes(1_000_000)) + b"0\r\n\r\n")
            answer = await client.answer()
            assert answer.status == 500
            assert (answer.headers.first("X-Arcus-Error") or "").startswith("scanner_")


async def test_a_scan_that_takes_too_long_is_500(daemon: Clamd) -> None:
    """ICAP-S12"""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        async with serving(ClamdScanner(Endpoint.unix(daemon.socket), ClamdSettings(timeout=0.3))) as running:
            answer = await running.ask(respmod(b"x", "Allow: 204"))
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert answer.status == 500
    assert answer.headers.first("X-Arcus-Error") == "scanner_timeout"


@pytest.mark.parametrize(("size", "status"), [(50_000, 200), (50_001, 500)])
async def test_a_kept_body_has_an_exact_bound(size: int, status: int) -> None:
    settings = ServerSettings(tick=0.02, keep_memory=1000, keep_body=50_000)
    async with serving(settings=settings) as running:
        for service in ("respmod", "echo"):
            answer = await running.ask(respmod(bytes(size), service=service))
            assert answer.status == status


async def test_all_kept_bodies_together_have_a_bound_and_give_it_back() -> None:
    settings = ServerSettings(tick=0.02, keep_total=100)
    async with serving(settings=settings) as running:
        for _ in range(3):
            assert (await running.ask(respmod(bytes(100)))).status == 200
            answer = await running.ask(respmod(bytes(101)))
            assert answer.status == 503
            assert answer.headers.first("X-Arcus-Error") == "resource_exhausted"


def test_keep_budget_comes_from_the_settings() -> None:
    settings = ServerSettings()
    assert KeepBudget.of(settings).total == settings.keep_total


async def test_a_scanner_that_does_not_read_holds_the_client_back() -> None:
    release = asyncio.Event()

    class Late(WholeBodyScanner):
        async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
            await release.wait()
            return await super().scan(chunks)

    async with serving(Late()) as running, await running.open() as client:
        client.writer.write(respmod(bytes(40_000_000), "Allow: 204"))
        while not any(session.busy for session in running.server._sessions.values()):
            await asyncio.sleep(0.01)
        for _ in range(20):  # what the kernel and we take is a few megabytes, then it stops
            await asyncio.sleep(0.02)
        assert client.writer.transport.get_write_buffer_size() > 20_000_000
        release.set()
        assert (await client.answer()).status == 204
    assert running.ledger.accounts[0].received == 40_000_000


async def test_echo_gives_back_both_kinds() -> None:
    async with serving() as running:
        assert (await running.ask(respmod(b"x", "Allow: 204", service="echo"))).status == 204
        answer = await running.ask(reqmod(b"x", service="echo"))
        assert answer.head == REQUEST_HEAD[:-2] + b"Via: ICAP/1.0 arcus\r\n\r\n"
        assert answer.body == b"x"


async def test_a_signature_name_cannot_break_a_header() -> None:
    class Named(WholeBodyScanner):
        async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
            return dataclasses.replace(await super().scan(chunks), signature="a;b\r\nX-Evil: 1 <script>")

    async with serving(Named(needle=b"bad")) as running:
        answer = await running.ask(respmod(b"bad"))
    assert answer.headers.first("X-Infection-Found") == "Type=0; Resolution=2; Threat=abX-Evil: 1 <script>;"
    assert answer.headers.first("X-Evil") is None
    assert b"<script>" not in (answer.body or b"")


async def test_the_log_has_what_the_client_claims_and_nothing_where_it_claims_nothing(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    await running.ask(respmod(EICAR, "X-Client-IP: 192.0.2.9"))
    await running.ask(respmod(EICAR, "Allow: 204"))
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("infected: ")]
    assert told[0].endswith(", client '192.0.2.9'")
    assert "None" not in told[1]


@pytest.mark.parametrize("head", [HEALTH_CHECK, HEALTH_CHECK.replace(b"health.invalid/probe", b"health.invalid.test/probe")])
async def test_a_find_that_a_check_asks_for_is_no_alarm(
    running: Running, caplog: pytest.LogCaptureFixture, head: bytes
) -> None:
    """It is blocked like any other; other names, however alike, do not make less of a find."""
    caplog.set_level(logging.DEBUG)
    assert_blocked(await running.ask(reqmod(EICAR, head=head)))
    [record] = [each for each in caplog.records if each.getMessage().startswith("infected: ")]
    asked = head is HEALTH_CHECK
    assert (record.levelno, record.getMessage().endswith(", a check of health")) == (
        logging.DEBUG if asked else logging.WARNING,
        asked,
    )
