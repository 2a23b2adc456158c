"""One chunk may be the whole object (RFC 3507 section 6.3), and memory stays flat."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.icap.server.serving import Client, respmod
from tests.servers import clamd

pytestmark = pytest.mark.integration

SIZE = 64 * 1024 * 1024
SERVER = """
import asyncio, socket, sys
from icap.server.adapt import standard_services
from icap.server.scanners.clamd import ClamdScanner, ClamdSettings
from icap.server.scanners.endpoint import Endpoint
from icap.server.server import IcapServer
from icap.server.settings import ServerSettings

async def main():
    settings = ServerSettings()
    scanner = ClamdScanner(Endpoint.unix(sys.argv[1]), ClamdSettings(max_size=1 << 30))
    server = IcapServer(standard_services(scanner, settings), settings)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start([listener])
    print(listener.getsockname()[1], flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def peak(pid: int) -> int:
    """Bytes of resident memory at the most."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) * 1024


@pytest.mark.parametrize("lines", [("Allow: 204",), ()])
async def test_icp_02_one_chunk_of_64_mib_in_constant_memory(lines: tuple[str, ...]) -> None:
    """ICAP-S21"""
    with clamd("StreamMaxLength 80M\nMaxFileSize 80M\nMaxScanSize 400M") as daemon:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, str(daemon.socket), stdout=asyncio.subprocess.PIPE, env={**os.environ}
        )
        assert server.stdout is not None
        try:
            port = int(await server.stdout.readline())
            client = Client(*await asyncio.open_connection("127.0.0.1", port, limit=SIZE * 2))
            async with client:
                assert (await client.ask(respmod(b"warm up", *lines))).status in (200, 204)
                before = peak(server.pid)
                asking = asyncio.create_task(client.answer())
                client.writer.write(respmod(b"", *lines).removesuffix(b"0\r\n\r\n") + b"%x\r\n" % SIZE)
                for _ in range(SIZE // 65536):
                    client.writer.write(bytes(65536))
                    await client.writer.drain()
                client.writer.write(b"\r\n0\r\n\r\n")
                answer = await asking
            assert answer.status == (204 if lines else 200)
            assert len(answer.body or b"") == (0 if lines else SIZE)
            assert peak(server.pid) - before < 16 * 1024 * 1024
        finally:
            server.kill()
            await server.wait()
