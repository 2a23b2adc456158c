"""ICP-01, ICP-02, ICP-12, ICP-13: our client against our server, clamd behind it."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from appliance.domain.verdict import Outcome
from icap.client import IcapService, Identity, Message
from icap.server.scanners.clamd import ClamdScanner
from icap.server.scanners.endpoint import Endpoint
from tests.icap.server.serving import REQUEST_HEAD, Running, serving
from tests.servers import EICAR, EICAR_NAME, Clamd, clamd

pytestmark = pytest.mark.integration

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
POST = b"POST http://origin.test/up HTTP/1.1\r\nHost: origin.test\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Clamd]:
    with clamd() as running:
        yield running


@pytest.fixture
async def running(daemon: Clamd) -> AsyncIterator[Running]:
    scanner = ClamdScanner(Endpoint.unix(daemon.socket))
    await scanner.start()
    async with serving(scanner) as server:
        yield server
    await scanner.close()


def download(body: bytes) -> Message:
    return Message("RESPMOD", REQUEST_HEAD, RESPONSE % len(body), body, Identity(client_ip="192.0.2.1", subscriber="s-1"))


@pytest.mark.parametrize("size", [0, 31, 32, 33, 10_000_000])
async def test_icp_02_clean_downloads_are_clean(running: Running, size: int) -> None:
    service = IcapService(f"icap://127.0.0.1:{running.port}/respmod")
    adapted = await service.adapt(download(os.urandom(size)))
    await service.close()
    assert (adapted.verdict.outcome, adapted.verdict.icap_status, adapted.kind) == (Outcome.CLEAN, 204, "unmodified")


async def test_icp_13_a_find_reaches_the_verdict_with_signature_and_engine(running: Running) -> None:
    service = IcapService(f"icap://127.0.0.1:{running.port}/respmod")
    adapted = await service.adapt(download(EICAR))
    assert adapted.verdict.outcome is Outcome.BLOCKED
    assert adapted.verdict.signature == EICAR_NAME
    assert adapted.verdict.engine.startswith("ClamAV ")
    assert adapted.kind == "response"
    assert (adapted.head or b"").startswith(b"HTTP/1.1 403 ")
    assert EICAR_NAME.encode() in (adapted.body or b"")
    assert running.ledger.accounts[-1].client == "192.0.2.1"
    assert (await service.check()).ok
    await service.close()


async def test_icp_01_an_infected_upload_is_blocked(running: Running) -> None:
    service = IcapService(f"icap://127.0.0.1:{running.port}/reqmod")
    adapted = await service.adapt(Message("REQMOD", POST % len(EICAR), None, EICAR))
    assert adapted.verdict.outcome is Outcome.BLOCKED
    assert adapted.kind == "response"
    clean = await service.adapt(Message("REQMOD", POST % 3, None, b"abc"))
    assert clean.verdict.outcome is Outcome.CLEAN
    await service.close()


async def test_icp_12_a_scanner_that_is_down_is_an_error_and_bad_health() -> None:
    with clamd() as gone:
        port = gone.port
    async with serving(ClamdScanner(Endpoint.tcp(f"127.0.0.1:{port}"))) as running:
        service = IcapService(f"icap://127.0.0.1:{running.port}/respmod")
        for body in (EICAR, b"clean"):
            assert (await service.adapt(download(body))).verdict.outcome is Outcome.ERROR
        assert not (await service.check()).ok
        with clamd(port=port):
            assert (await service.check()).ok
            assert (await service.adapt(download(EICAR))).verdict.outcome is Outcome.BLOCKED
        await service.close()


async def test_icp_12_many_at_once_over_few_connections(running: Running) -> None:

    service = IcapService(f"icap://127.0.0.1:{running.port}/respmod", max_connections=4)
    bodies = [EICAR if number % 5 == 0 else b"clean %d" % number * 100 for number in range(100)]
    outcomes = [adapted.verdict.outcome for adapted in await asyncio.gather(*(service.adapt(download(b)) for b in bodies))]
    await service.close()
    assert outcomes == [Outcome.BLOCKED if body is EICAR else Outcome.CLEAN for body in bodies]
    assert running.ledger.open <= 4
