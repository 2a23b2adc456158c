"""Our client against c-icap: echo, ex206, and virus_scan with clamd behind it."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import uvloop

from appliance.domain.verdict import Outcome
from icap.client import Adapted, IcapService, Message, Tuning
from icap.client.tls import client_context
from tests.icap.client.messages import download, told, upload
from tests.ports import free_port
from tests.servers import EICAR, EICAR_NAME, MARKER, CIcap, Clamd, c_icap, clamd

pytestmark = pytest.mark.integration
HTML = b"<html><body>" + b"<p>text</p>" * 50 + b"</body></html>"


@pytest.fixture(scope="module")
def scanner() -> Iterator[Clamd]:
    with clamd() as running:
        yield running


@pytest.fixture(scope="module")
def server(scanner: Clamd) -> Iterator[CIcap]:
    with c_icap(scanner) as running:
        yield running


async def adapt_all(service: IcapService, *messages: Message) -> list[Adapted]:
    adapted = [await service.adapt(message) for message in messages]
    await service.close()
    return adapted


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 100_000])
async def test_icp_04_echo_leaves_every_body_unmodified(server: CIcap, size: int) -> None:
    """ICAP-C03, ICAP-C10, ICAP-C23"""
    body = bytes(range(256)) * (size // 256 + 1)
    service = IcapService(server.uri("echo"))
    # echo takes turns between 204, and 100 Continue then 200
    adapted = await adapt_all(service, *[download(body[:size])] * 4, *[upload(body[:size])] * 4)
    assert {told(one) for one in adapted} == {(Outcome.CLEAN, "ok")}
    assert {one.kind for one in adapted} == {"unmodified"}
    assert service.stats.connects == 1


async def test_icp_01_icp_02_eicar_is_blocked_and_named(server: CIcap) -> None:
    """ICAP-C09, ICAP-C30, ICAP-C33"""
    service = IcapService(server.uri("avscan"))
    adapted = await adapt_all(service, download(EICAR), upload(EICAR), download(b"x" * 200_000 + MARKER))
    for one in adapted:
        assert told(one) == (Outcome.BLOCKED, "malware_found")
        assert one.kind == "response"
        assert one.head is not None
        assert one.head.startswith(b"HTTP/1.1 403 ")
        assert b"Content-Length: %d\r\n" % len(one.body or b"") in one.head
    assert [one.verdict.signature for one in adapted] == [EICAR_NAME, EICAR_NAME, "Test.Marker.UNOFFICIAL"]
    assert adapted[0].verdict.engine.startswith("CI0001")


async def test_icp_11_a_hundred_scans_on_one_connection(server: CIcap) -> None:
    service = IcapService(server.uri("avscan"))
    adapted = await adapt_all(service, *(download(b"%d" % number * 500) for number in range(100)))
    assert {told(one) for one in adapted} == {(Outcome.CLEAN, "ok")}
    assert (service.stats.connects, service.stats.retries) == (1, 0)


async def test_many_at_once(server: CIcap) -> None:
    service = IcapService(server.uri("avscan"), max_connections=8)
    messages = [download(EICAR if number % 3 == 0 else b"clean %d" % number) for number in range(60)]
    adapted = await asyncio.gather(*map(service.adapt, messages))
    await service.close()
    wanted = [Outcome.BLOCKED if number % 3 == 0 else Outcome.CLEAN for number in range(60)]
    assert [one.verdict.outcome for one in adapted] == wanted
    assert service.stats.connects <= 8


async def test_icp_05_a_body_that_c_icap_cuts_off_is_blocked(server: CIcap) -> None:
    """ICAP-C32"""
    # Above 2 MB virus_scan sends 5 % ahead of the scan, and an infected body then just ends, with status 200.
    adapted, clean = await adapt_all(
        IcapService(server.uri("virus_scan")), download_long(3_000_000, MARKER), download_long(3_000_000, b"")
    )
    assert told(adapted) == (Outcome.BLOCKED, "icap_protocol_error")
    assert (adapted.verdict.icap_status, adapted.body) == (200, None)
    assert told(clean) == (Outcome.CLEAN, "ok")


def download_long(size: int, end: bytes) -> Message:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % (size + len(end))
    return Message("RESPMOD", b"GET http://h.test/big HTTP/1.1\r\nHost: h.test\r\n\r\n", head, b"z" * size + end)


async def test_icp_03_partial_content(server: CIcap) -> None:
    """ICAP-C28"""
    service = IcapService(server.uri("ex206"), tuning=Tuning(allow_206=True))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    (adapted,) = await adapt_all(service, Message("RESPMOD", b"GET http://h.test/ HTTP/1.1\r\n\r\n", head, HTML))
    assert told(adapted) == (Outcome.MODIFIED, "ok")
    assert adapted.verdict.icap_status == 206
    assert adapted.body is not None
    assert adapted.body.endswith(b"<p>text</p></body></html>")
    assert len(adapted.body) > len(HTML)


async def test_icp_05_unknown_service(server: CIcap) -> None:
    (adapted,) = await adapt_all(IcapService(server.uri("none")), download())
    assert told(adapted) == (Outcome.ERROR, "icap_error")


async def test_icp_14_health_is_the_scanners_not_that_of_options(server: CIcap) -> None:
    """ICAP-C22"""
    scanning, blind = IcapService(server.uri("avscan")), IcapService(server.uri("echo"))
    assert (await scanning.check()).ok
    assert not (await blind.check()).ok
    await scanning.close()
    await blind.close()


async def test_icp_05_clamd_gone() -> None:
    with clamd() as scanner, c_icap(scanner) as server:
        service = IcapService(server.uri("avscan"))
        assert (await service.check()).ok
        os.kill(scanner.pid, signal.SIGTERM)
        while scanner.socket.exists():
            await asyncio.sleep(0.05)
        adapted = await adapt_all(service, download(EICAR), download(b"clean"))
    assert {told(one) for one in adapted} == {(Outcome.ERROR, "icap_error")}


async def test_icp_11_a_restarted_server_costs_no_message(scanner: Clamd) -> None:
    """ICAP-C36"""
    port = free_port()
    with c_icap(scanner, port=port) as server:
        service = IcapService(server.uri("avscan"))
        assert told(await service.adapt(download(b"one"))) == (Outcome.CLEAN, "ok")
    with c_icap(scanner, port=port):
        (adapted,) = await adapt_all(service, download(EICAR))
    assert told(adapted) == (Outcome.BLOCKED, "malware_found")


async def test_icaps_with_an_authority_of_its_own(scanner: Clamd, tmp_path: Path) -> None:
    """ICAP-C45"""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    port = free_port()
    line = f"TlsPort 127.0.0.1:{port} cert={tmp_path}/cert.pem key={tmp_path}/key.pem"
    with c_icap(scanner, line):
        uri = f"icaps://localhost:{port}/avscan"
        (blocked,) = await adapt_all(IcapService(uri, tls=client_context(tmp_path / "ca.pem")), download(EICAR))
        (untrusted,) = await adapt_all(IcapService(uri), download(EICAR))
    assert told(blocked) == (Outcome.BLOCKED, "malware_found")
    assert told(untrusted) == (Outcome.ERROR, "icap_unreachable")


def test_uvloop_scans_too(server: CIcap) -> None:
    async def scan() -> list[tuple[Outcome, str]]:
        service = IcapService(server.uri("avscan"))
        return [told(one) for one in await adapt_all(service, download(EICAR), download(b"y" * 3_000_000))]

    assert uvloop.run(scan()) == [(Outcome.BLOCKED, "malware_found"), (Outcome.CLEAN, "ok")]
    assert sys.modules["uvloop"] is uvloop
