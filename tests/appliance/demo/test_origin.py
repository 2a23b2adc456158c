"""The test origin, asked by clients that are not ours."""

import asyncio
import hashlib
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.demo.origin import MAX_HEADER, eicar, ensure_ca, serve
from icap.client.probe import EICAR

pytestmark = pytest.mark.integration


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[tuple[int, int]]:
    stop = asyncio.Event()
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    serving = asyncio.create_task(serve(tmp_path / "demo", *sockets, stop))
    await asyncio.sleep(0)
    yield sockets[0].getsockname()[1], sockets[1].getsockname()[1]
    stop.set()
    await serving


async def _curl(*arguments: str | Path) -> bytes:
    program = ["curl", "-sS", "--max-time", "30", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, error = await process.communicate()
    assert process.returncode == 0, error
    return out


async def _secure(tmp_path: Path, ports: tuple[int, int], path: str, *more: str) -> bytes:
    name = f"origin.test:{ports[0]}"
    return await _curl(
        "--cacert", tmp_path / "demo" / "ca.pem", "--resolve", f"{name}:127.0.0.1", *more, f"https://{name}{path}"
    )


async def test_verified_https_and_plain_http(tmp_path: Path, ports: tuple[int, int]) -> None:
    assert (await _secure(tmp_path, ports, "/")).startswith(b"hello from the demo origin, host origin.test")
    assert (await _curl(f"http://127.0.0.1:{ports[1]}/")).startswith(b"hello")


async def test_eicar_is_the_test_file(tmp_path: Path, ports: tuple[int, int]) -> None:
    assert await _secure(tmp_path, ports, "/eicar.com") == eicar() == EICAR
    assert len(eicar()) == 68


@pytest.mark.parametrize("number", [0, 1, 65536, 1_000_001])
async def test_bytes(tmp_path: Path, ports: tuple[int, int], number: int) -> None:
    assert await _secure(tmp_path, ports, f"/bytes/{number}") == bytes(number)


@pytest.mark.parametrize("more", [(), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue")])
async def test_upload_says_size_and_hash(tmp_path: Path, ports: tuple[int, int], more: tuple[str, ...]) -> None:
    body = b"0123456789" * 20_000
    (tmp_path / "body").write_bytes(body)
    answer = await _secure(tmp_path, ports, "/upload", "--data-binary", f"@{tmp_path / 'body'}", *more)
    assert answer.decode() == f"{len(body)} {hashlib.sha256(body).hexdigest()}\n"


async def test_events_and_slowness_and_what_is_not_there(tmp_path: Path, ports: tuple[int, int]) -> None:
    assert (await _secure(tmp_path, ports, "/sse")).count(b"data: event") == 5
    assert await _secure(tmp_path, ports, "/slow?seconds=0.1") == b"at last\n"
    assert (await _secure(tmp_path, ports, "/nothing", "-w", "%{http_code}")).endswith(b"404")
    assert (await _secure(tmp_path, ports, "/bytes/x", "-w", "%{http_code}")).endswith(b"400")


async def test_a_connection_carries_several_requests(ports: tuple[int, int]) -> None:
    url = f"http://127.0.0.1:{ports[1]}/"
    assert await _curl("-w", "%{num_connects} ", "-o", "/dev/null", url, "-o", "/dev/null", url) == b"1 0 "


@pytest.mark.parametrize(
    "raw", [b"nonsense\r\n\r\n", b"x" * (MAX_HEADER + 4), b"POST /upload HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
async def test_malformed_requests_end_the_connection_and_nothing_else(ports: tuple[int, int], raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[1])
    writer.write(raw)
    try:
        assert await reader.read() == b""
    except ConnectionError:
        reader.feed_eof()
    writer.close()
    assert (await _curl(f"http://127.0.0.1:{ports[1]}/")).startswith(b"hello")


async def test_its_ca_is_kept_and_its_leaf_is_left_nowhere(tmp_path: Path, ports: tuple[int, int]) -> None:
    before = (tmp_path / "demo" / "ca.pem").read_bytes()
    ensure_ca(tmp_path / "demo")
    assert (tmp_path / "demo" / "ca.pem").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["ca.key", "ca.pem"]
    context = ssl.create_default_context(cafile=str(tmp_path / "demo" / "ca.pem"))
    url = f"https://127.0.0.1:{ports[0]}/"

    def ask() -> bytes:
        with urllib.request.urlopen(url, context=context, timeout=30) as answer:
            return bytes(answer.read())

    assert (await asyncio.to_thread(ask)).startswith(b"hello")
