"""ESC-10: a SOCKS5 parent, a real one in this process and lying ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.domain.reason import Reason
from tests.appliance.egress.ways import blackhole, close, closed_port, dialer, node, origin, outcome, resolver, wish
from tests.proxies import socks5_parent

AUTH = {"username": "u", "password": "p"}


def socks(port: int, **fields: Any) -> Any:
    return node("s", "proxy_socks5", proxy_addr=f"127.0.0.1:{port}", **fields)


async def reason_for(port: int, **fields: Any) -> Reason:
    return await outcome(socks(port, **fields))


async def test_esc_10_the_parent_sees_the_name() -> None:
    async with origin(say=b"banner ") as server, socks5_parent(hosts={"o.test": "127.0.0.1"}) as parent:
        way = socks(parent.port)
        async with dialer(way, lookup=lambda host: pytest.fail(host)) as out:
            dialed = await out.connect("s", wish("o.test", server.port))
            dialed.writer.write(b"echo")
            assert await dialed.reader.readexactly(11) == b"banner echo"
            await close(dialed)
    assert parent.requests == [(3, "o.test", server.port, "")]
    assert (dialed.notes.next_hop, dialed.notes.resolved_ip, dialed.absolute_form) == (
        f"127.0.0.1:{parent.port}",
        "127.0.0.1",
        False,
    )


@pytest.mark.parametrize(("ip", "kind"), [("127.0.0.1", 1), ("::1", 4)])
async def test_esc_10_the_parent_sees_an_address_when_told_so(ip: str, kind: int) -> None:
    static = resolver(hosts={"o.test": [ip]})
    async with origin(ip) as server, socks5_parent() as parent:
        way = socks(parent.port, resolve_locally=True, resolver="static")
        async with dialer(way, resolvers=[static]) as out:
            await close(await out.connect("s", wish("o.test", server.port)))
    assert parent.requests == [(kind, ip, server.port, "")]


async def test_esc_10_with_credentials() -> None:
    async with origin() as server, socks5_parent(users={"u": "p"}) as parent, dialer(socks(parent.port, auth=AUTH)) as out:
        await close(await out.connect("s", wish("127.0.0.1", server.port)))
    assert parent.requests == [(1, "127.0.0.1", server.port, "u")]


@pytest.mark.parametrize("auth", [None, {"username": "u", "password": "wrong"}])
async def test_esc_10_refused_credentials(auth: dict[str, str] | None) -> None:
    async with socks5_parent(users={"u": "p"}) as parent:
        assert await reason_for(parent.port, auth=auth) is Reason.UPSTREAM_AUTH_FAILED
    assert parent.requests == []


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7, 8])
async def test_esc_10_a_refusal_is_told(code: int) -> None:
    async with socks5_parent(reply=code) as parent:
        assert await reason_for(parent.port) is Reason.UPSTREAM_PROXY_REFUSED


async def test_esc_10_a_parent_that_is_not_there() -> None:
    assert await reason_for(closed_port()) is Reason.CONNECT_REFUSED
    with blackhole() as port:
        assert await reason_for(port, connect_timeout=0.1) is Reason.CONNECT_TIMEOUT


async def test_esc_10_bind_ip() -> None:
    async with talking(b"") as (port, peers):
        await reason_for(port, bind_ip=["127.0.0.9"], connect_timeout=20)
    assert peers == ["127.0.0.9"]


async def test_plain_http_goes_through_as_it_is() -> None:
    async with origin() as server, socks5_parent() as parent, dialer(socks(parent.port)) as out:
        dialed = await out.connect("s", wish("127.0.0.1", server.port, protocol="http"))
        dialed.writer.write_eof()
        assert (dialed.absolute_form, await fetch_nothing(dialed)) == (False, b"")


async def fetch_nothing(dialed: Any) -> bytes:
    answer: bytes = await dialed.reader.read()
    await close(dialed)
    return answer


@contextlib.asynccontextmanager
async def talking(script: bytes) -> AsyncIterator[tuple[int, list[str]]]:
    """A peer that says ``script`` after the first bytes it hears, and closes."""
    peers: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        with contextlib.suppress(OSError):
            await reader.read(1)
            writer.write(script)
            writer.write_eof()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], peers
    finally:
        server.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (b"", Reason.UPSTREAM_CLOSED),
        (b"\x05\x00\x05\x00\x00\x01\x00", Reason.UPSTREAM_CLOSED),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"\x05\x00\x04\x00\x00\x01" + bytes(6), Reason.UPSTREAM_PROTOCOL),
        (b"\x05\x00\x05\x00\x00\x09" + bytes(6), Reason.UPSTREAM_PROTOCOL),
        (b"\x05\x00\x05\x00\x00\x03\x02\xff\xfe\x00\x00", Reason.UPSTREAM_PROTOCOL),
        (b"\x05\x00\x05\x63\x00\x01" + bytes(6), Reason.UPSTREAM_PROTOCOL),
        (b"\x05\x02", Reason.UPSTREAM_AUTH_FAILED),
    ],
)
async def test_a_parent_that_lies(script: bytes, reason: Reason) -> None:
    async with talking(script) as (port, _):
        assert await reason_for(port) is reason


KNOWN = {
    Reason.OK,
    Reason.UPSTREAM_CLOSED,
    Reason.UPSTREAM_PROTOCOL,
    Reason.UPSTREAM_AUTH_FAILED,
    Reason.UPSTREAM_PROXY_REFUSED,
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(max_size=30), st.binary(max_size=12).map(lambda tail: b"\x05\x00\x05\x00\x00" + tail)))
def test_any_bytes_of_a_parent_end_in_a_known_reason(script: bytes) -> None:
    async def conversation() -> Reason:
        async with talking(script) as (port, _):
            return await reason_for(port, auth=AUTH)

    assert asyncio.run(conversation()) in KNOWN
