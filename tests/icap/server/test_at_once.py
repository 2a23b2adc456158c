"""Requests that are answered in the event loop's callback, without the connection's task."""

import asyncio

import pytest

from icap.server.settings import ServerSettings
from tests.icap.server.serving import WholeBodyScanner, options, reqmod, respmod, serving

pytestmark = pytest.mark.integration
ALLOW = "Allow: 204"


async def test_icap_s17_answers_at_once_and_by_the_task_keep_their_order() -> None:
    """ICAP-S07, ICAP-S17: every second answer needs a scan, the others do not; the connection stays in step."""
    scanner = WholeBodyScanner(delay=0.01)
    async with serving(scanner) as running, await running.open() as client:
        for _ in range(5):
            client.writer.write(reqmod(None, ALLOW) + respmod(b"scan me") + reqmod(None, ALLOW) * 2 + options())
            assert [(await client.answer()).status for _ in range(5)] == [204, 200, 204, 204, 200]
    assert len(running.ledger.accounts) == 25
    assert scanner.started == 5


async def test_answers_at_once_are_accounted_for() -> None:
    async with serving() as running, await running.open() as client:
        await client.ask(reqmod(b"12345", ALLOW, "X-Client-IP: 192.0.2.7", service="echo"))
        (account,) = running.ledger.accounts
    assert (account.service, account.method, account.status, account.received) == ("echo", "REQMOD", 204, 5)
    assert account.client == "192.0.2.7"


async def test_icap_s19_idle_time_begins_again_with_each_answer_at_once() -> None:
    settings = ServerSettings(tick=0.02, idle_timeout=0.5)
    async with serving(settings=settings) as running, await running.open() as client:
        for _ in range(6):
            assert (await client.ask(reqmod(None, ALLOW))).status == 204
            await asyncio.sleep(0.2)
        assert await asyncio.wait_for(client.rest(), 10) == b""


async def test_icap_s19_half_a_request_after_an_answer_at_once_is_408() -> None:
    """ICAP-S18: what came with the end of a request that was answered at once has the header's time, not the idle one."""
    settings = ServerSettings(tick=0.02, header_timeout=0.2, idle_timeout=60)
    async with serving(settings=settings) as running, await running.open() as client:
        client.writer.write(reqmod(None, ALLOW) + options()[:10])
        assert (await client.answer()).status == 204
        assert (await client.answer()).status == 408


async def test_a_client_that_takes_no_answers_is_not_answered_without_end() -> None:
    """The answers wait in memory for as long as the write timeout, and no more requests are read meanwhile."""
    settings = ServerSettings(tick=0.02, write_timeout=0.5)
    async with serving(settings=settings) as running, await running.open() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0
        while not client.writer.is_closing() and sent < 400_000:
            client.writer.write(reqmod(None, ALLOW) * 100)
            sent += 100
            try:
                await asyncio.wait_for(client.writer.drain(), 5)
            except (OSError, TimeoutError):
                break
        assert len(running.ledger.accounts) < sent


async def test_icap_s16_close_and_a_server_that_stops_are_the_tasks_to_answer() -> None:
    async with serving() as running, await running.open() as client:
        answer = await client.ask(reqmod(None, ALLOW, "Connection: close"))
        assert (answer.status, answer.headers.first("Connection")) == (204, "close")
        assert await client.rest() == b""


async def test_icap_s03_the_istag_of_answers_at_once_follows_the_scanner() -> None:
    scanner = WholeBodyScanner()
    async with serving(scanner) as running, await running.open() as client:
        before = (await client.ask(reqmod(None, ALLOW))).headers.first("ISTag")
        scanner.fingerprint = "2"
        after = (await client.ask(reqmod(None, ALLOW))).headers.first("ISTag")
        assert (await client.ask(options("reqmod"))).headers.first("ISTag") == after
    assert before != after
