"""ICP-12: foreign ICAP clients against our server: squid as a proxy, and c-icap's client."""

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from icap.server.scanners.clamd import ClamdScanner
from icap.server.scanners.endpoint import Endpoint
from tests.icap.server.serving import Running, serving
from tests.proxies import Peer, nginx, squid
from tests.servers import EICAR, EICAR_NAME, Clamd, clamd

pytestmark = pytest.mark.integration

SQUID = """
icap_enable on
icap_preview_enable on
icap_preview_size 1024
icap_persistent_connections on
icap_206_enable on
icap_connect_timeout 5 seconds
icap_io_timeout 20 seconds
icap_service_failure_limit -1
adaptation_send_client_ip on
icap_service up reqmod_precache icap://127.0.0.1:{port}/reqmod bypass=off
icap_service down respmod_precache icap://127.0.0.1:{port}/respmod bypass=off
adaptation_access up allow all
adaptation_access down allow all
"""
# Bodies of GET answers stay below 64 KiB: Debian's squid 5.7 stalls on larger ones (squid bug 5352).
FILES = {
    "eicar.com": EICAR,
    "clean.txt": b"hello\n",
    "empty": b"",
    "1024.bin": os.urandom(1024),
    "1025.bin": os.urandom(1025),
    "60k.bin": os.urandom(60_000),
}


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


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    return directory


@contextlib.contextmanager
def proxied(port: int, files: Path) -> Iterator[tuple[Peer, Peer]]:
    """squid with our services, and the origin behind it."""
    server = f'root {files}; location /up {{ default_type text/plain; return 200 "taken"; }}'
    with nginx(server=server) as origin, squid(extra=SQUID.format(port=port)) as proxy:
        yield proxy, origin


async def curl(proxy: Peer, url: str, *options: str) -> tuple[int, bytes]:
    """Status and body."""
    command = ["curl", "-s", "-m", "40", "-x", f"http://127.0.0.1:{proxy.port}", "-w", "\n%{http_code}", *options, url]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    body, _, status = out.rpartition(b"\n")
    return int(status), body


async def test_icp_12_squid_blocks_and_passes_through_our_server(running: Running, files: Path) -> None:
    """ICAP-S01, ICAP-S05, ICAP-S09"""
    with proxied(running.port, files) as (proxy, origin):
        base = f"http://127.0.0.1:{origin.port}"
        for name in FILES:
            status, body = await curl(proxy, f"{base}/{name}")
            if name == "eicar.com":
                assert status == 403
                assert EICAR_NAME.encode() in body
                assert EICAR not in body
            else:
                assert status == 200
                assert hashlib.sha256(body).digest() == hashlib.sha256(FILES[name]).digest()
        accounts = running.ledger.accounts
        assert {account.status for account in accounts} <= {200, 204}
        assert {account.client for account in accounts if account.method != "OPTIONS"} == {"127.0.0.1"}
        assert running.ledger.open < len(accounts)  # connections are used again


async def test_icp_01_icp_12_squid_keeps_an_infected_upload_from_the_origin(running: Running, files: Path) -> None:
    """ICAP-S10"""
    with proxied(running.port, files) as (proxy, origin):
        url = f"http://127.0.0.1:{origin.port}/up"
        status, body = await curl(proxy, url, "-H", "Expect:", "--data-binary", f"@{files}/eicar.com")
        assert status == 403
        assert EICAR_NAME.encode() in body
        status, body = await curl(proxy, url, "-H", "Expect:", "--data-binary", f"@{files}/60k.bin")
        assert (status, body) == (200, b"taken")
        assert len(origin.log("POST /up")) == 1


async def test_icp_12_squid_blocks_while_clamd_is_down(files: Path) -> None:
    """ICAP-S12"""
    with clamd() as first:
        port = first.port
    async with serving(ClamdScanner(Endpoint.tcp(f"127.0.0.1:{port}"))) as running:
        with proxied(running.port, files) as (proxy, origin):
            for name in ("clean.txt", "eicar.com"):
                status, _ = await curl(proxy, f"http://127.0.0.1:{origin.port}/{name}")
                assert status == 500
            with clamd(port=port):
                assert (await curl(proxy, f"http://127.0.0.1:{origin.port}/clean.txt")) == (200, b"hello\n")
                assert (await curl(proxy, f"http://127.0.0.1:{origin.port}/eicar.com"))[0] == 403


async def c_icap_client(port: int, *options: str) -> str:
    command = ["c-icap-client", "-i", "127.0.0.1", "-p", str(port), "-v", *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode("latin-1")


@pytest.mark.skipif(shutil.which("c-icap-client") is None, reason="c-icap-client is not installed")
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("eicar.com", (), ("ICAP/1.0 200 OK", "X-Infection-Found: Type=0; Resolution=2;", "HTTP/1.1 403")),
        ("eicar.com", ("-w", "30"), ("ICAP/1.0 200 OK", "HTTP/1.1 403")),
        ("eicar.com", ("-nopreview", "-no204"), ("ICAP/1.0 200 OK", "HTTP/1.1 403")),
        ("60k.bin", (), ("ICAP/1.0 204",)),
        ("60k.bin", ("-nopreview",), ("ICAP/1.0 204",)),
        ("60k.bin", ("-no204",), ("ICAP/1.0 200 OK",)),
        ("60k.bin", ("-nopreview", "-no204"), ("ICAP/1.0 200 OK",)),
        ("1024.bin", ("-w", "1024"), ("ICAP/1.0 204",)),
    ],
)
async def test_icp_12_c_icap_client_gets_the_right_answers(
    running: Running, files: Path, tmp_path: Path, name: str, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """ICAP-S05, ICAP-S06, ICAP-S09"""
    output = tmp_path / "out"
    said = await c_icap_client(running.port, "-s", "respmod", "-f", str(files / name), "-o", str(output), *options)
    for word in words:
        assert word in said
    if words == ("ICAP/1.0 200 OK",):
        assert output.read_bytes() == FILES[name]


@pytest.mark.skipif(shutil.which("c-icap-client") is None, reason="c-icap-client is not installed")
async def test_icp_12_c_icap_client_reqmod_and_options(running: Running, files: Path) -> None:
    said = await c_icap_client(running.port, "-s", "respmod")
    assert "Preview: 32" in said
    options = ("-s", "reqmod", "-f", str(files / "eicar.com"), "-req", "http://origin.test/up", "-method", "POST")
    said = await c_icap_client(running.port, *options)
    assert "X-Virus-ID" in said
