"""The CONNECT client: what it sends, what it believes, and where it stops reading."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from appliance.config.escaper import ProxyAuth
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.connect_method import HEAD_LIMIT, basic_credentials, connect_request, parse_status
from tests.appliance.egress.ways import close, dialer, node, outcome, wish


@contextlib.asynccontextmanager
async def answering(answer: bytes | None, close_after: bool = False) -> AsyncIterator[int]:
    """A parent that reads a request head, then says ``answer``; None says nothing."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            if answer:
                writer.write(answer)
                await writer.drain()
            if not close_after:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def reason_for(answer: bytes | None, close_after: bool = False, timeout: float = 20) -> Reason:
    async with answering(answer, close_after) as port:
        return await outcome(node("h", "proxy_http", proxy_addr=f"127.0.0.1:{port}", connect_timeout=timeout))


OK = b"HTTP/1.1 200 OK\r\n\r\n"
FILL = HEAD_LIMIT - len(b"HTTP/1.1 200 OK\r\nx: \r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OK, Reason.OK),
        (b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n", Reason.OK),
        (b"HTTP/1.1 204\r\n\r\n", Reason.OK),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, Reason.OK),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Reason.UPSTREAM_AUTH_FAILED),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Reason.UPSTREAM_PROXY_REFUSED),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Reason.UPSTREAM_PROXY_REFUSED),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\n\r\n", Reason.UPSTREAM_PROXY_REFUSED),
        (b"HTTP/1.1 101 Switching\r\n\r\n" + OK, Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/2 200 OK\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"ICY 200 OK\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 20 OK\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 2000 OK\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 200 OK\r\na : b\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 200 OK\nA: b\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 200 OK\r\na: \x00\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * FILL + b"\r\n\r\n", Reason.OK),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * (FILL + 1) + b"\r\n\r\n", Reason.UPSTREAM_HEADER_TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000, Reason.UPSTREAM_HEADER_TOO_LARGE),
        (b"HTTP/1.1 102 Wait\r\n\r\n" * 2000, Reason.UPSTREAM_HEADER_TOO_LARGE),
    ],
)
async def test_esc_08_each_answer_has_its_reason(answer: bytes, reason: Reason) -> None:
    assert await reason_for(answer) is reason


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200 OK\r\n"])
async def test_esc_08_a_parent_that_closes_instead(answer: bytes | None) -> None:
    assert await reason_for(answer, close_after=True) is Reason.UPSTREAM_CLOSED


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200 OK\r\n"])
async def test_esc_08_a_parent_that_never_finishes(answer: bytes | None) -> None:
    assert await reason_for(answer, timeout=0.5) is Reason.UPSTREAM_TIMEOUT


async def test_esc_08_what_follows_the_header_belongs_to_the_tunnel() -> None:
    """A server that speaks first may be heard together with the parent's answer; its lengths mean nothing."""
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n220 ready\r\n") as port:
        way = node("h", "proxy_http", proxy_addr=f"127.0.0.1:{port}")
        async with dialer(way) as out:
            dialed = await out.connect("h", wish("o.test", 25))
            assert await dialed.reader.readline() == b"220 ready\r\n"
            await close(dialed)


def test_esc_21_the_request_carries_the_credentials_once() -> None:
    request = connect_request(Target("o.test", 443), "Basic dTpw")
    assert request == b"CONNECT o.test:443 HTTP/1.1\r\nHost: o.test:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n"


def test_an_ipv6_target_is_bracketed() -> None:
    assert connect_request(Target("2001:db8::1", 443), None).startswith(
        b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"
    )


def test_esc_21_basic_credentials_are_utf_8() -> None:
    assert basic_credentials(ProxyAuth(username="ü", password=SecretStr("ä:b"))) == "Basic w7w6w6Q6Yg=="
    assert basic_credentials(None) is None
    with pytest.raises(ValueError, match="colon"):
        basic_credentials(ProxyAuth(username="a:b", password=SecretStr("c")))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_status_or_a_value_error(noise: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert 100 <= parse_status(noise + b"\r\n\r\n") <= 599


@given(st.integers(100, 599), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_every_well_formed_status_line_is_read(status: int, phrase: str) -> None:
    assert parse_status(f"HTTP/1.1 {status} {phrase}\r\nA: b\r\n\r\n".encode()) == status
