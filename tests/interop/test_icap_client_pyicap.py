"""Our client against a server written with pyicap: other framing, other habits, a new ISTag with every answer."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.domain.verdict import Outcome
from icap.client import IcapService
from tests.icap.client.messages import download, told, upload
from tests.ports import free_port
from tests.servers import EICAR, wait_for

pytestmark = pytest.mark.integration
PROGRAM = Path(__file__).with_name("icap_pyicap_server.py")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    number = free_port()
    log = tmp_path_factory.mktemp("pyicap") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, str(PROGRAM), str(number)], stdout=output, stderr=output)
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", number), 1).close() is None, process, log)
        yield number
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("size", [1, 15, 16, 17, 5000])
async def test_icp_10_previews_of_a_foreign_server(port: int, size: int) -> None:
    service = IcapService(f"icap://127.0.0.1:{port}/scan")
    body = b"0123456789abcdef" * 400
    adapted = await service.adapt(download(body[:size]))
    passed = await service.adapt(upload(body[:size]))
    await service.close()
    assert told(adapted) == (Outcome.MODIFIED, "ok")
    assert adapted.body == body[:size]
    assert adapted.head is not None
    assert b"x-foreign: 1\r\n" in adapted.head.lower()
    assert b"Content-Length: %d\r\n" % size in adapted.head
    assert told(passed) == (Outcome.CLEAN, "ok")


async def test_icp_01_icp_02_blocks_of_a_foreign_server(port: int) -> None:
    service = IcapService(f"icap://127.0.0.1:{port}/scan")
    for message in (download(EICAR), upload(EICAR)):
        adapted = await service.adapt(message)
        assert told(adapted) == (Outcome.BLOCKED, "malware_found")
        assert (adapted.verdict.signature, adapted.kind, adapted.body) == ("Foreign.Test", "response", b"blocked")
    await service.close()


async def test_icp_04_no_body(port: int) -> None:
    service = IcapService(f"icap://127.0.0.1:{port}/scan")
    assert told(await service.adapt(download(None))) == (Outcome.CLEAN, "ok")
    await service.close()


async def test_icp_05_a_service_it_does_not_have(port: int) -> None:
    service = IcapService(f"icap://127.0.0.1:{port}/none")
    assert (await service.adapt(download())).verdict.outcome is Outcome.ERROR
    await service.close()
