"""SOCKS5 negotiation over real sockets, at the byte level."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.errors import ClientError
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.engine import socks
from appliance.engine.stream import ClientStream
from tests.appliance.engine.pairs import stream_pair


async def verify(user: str, password: str) -> bool:
    return (user, password) == ("alice", "secret")


@asynccontextmanager
async def talk(data: bytes, check: socks.Verify | None = None, optional: bool = False) -> AsyncIterator[tuple[object, bytes]]:
    """Send ``data``, close, and give the outcome with everything that was answered."""
    async with stream_pair() as (server, reader, writer):
        writer.write(data)
        writer.write_eof()
        outcome = await attempt(server, check, optional)
        server.close()
        yield outcome, await reader.read()


async def attempt(stream: ClientStream, check: socks.Verify | None, optional: bool) -> object:
    try:
        return await socks.negotiate(stream, check, optional)
    except (ClientError, asyncio.IncompleteReadError) as error:
        return error


@pytest.mark.parametrize(
    ("address", "target"),
    [
        (b"\x01\x7f\x00\x00\x01\x01\xbb", Target("127.0.0.1", 443)),
        (b"\x03\x0bOrigin.Test\x00\x50", Target("origin.test", 80)),
        (b"\x04" + bytes(15) + b"\x01\x20\xfb", Target("::1", 8443)),
    ],
)
async def test_srv_04_each_address_type(address: bytes, target: Target) -> None:
    async with talk(b"\x05\x01\x00\x05\x01\x00" + address) as (outcome, answer):
        assert outcome == target
        assert answer == b"\x05\x00"


async def test_srv_04_user_and_password() -> None:
    request = b"\x05\x02\x00\x02\x01\x05alice\x06secret\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb"
    async with talk(request, verify) as (outcome, answer):
        assert outcome == Target("127.0.0.1", 443)
        assert answer == b"\x05\x02\x01\x00"


async def test_srv_04_wrong_password_is_refused_with_a_nonzero_status() -> None:
    async with talk(b"\x05\x01\x02\x01\x05alice\x05wrong", verify) as (outcome, answer):
        assert isinstance(outcome, ClientError)
        assert outcome.reason is Reason.AUTH_FAILED
        assert answer == b"\x05\x02\x01\x01"


async def test_no_authentication_offered_where_it_is_required() -> None:
    async with talk(b"\x05\x01\x00", verify) as (outcome, answer):
        assert isinstance(outcome, ClientError)
        assert outcome.reason is Reason.AUTH_REQUIRED
        assert answer == b"\x05\xff"


async def test_anonymous_where_it_is_optional() -> None:
    async with talk(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", verify, True) as (outcome, _):
        assert outcome == Target("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("data", "reason", "answer"),
    [
        (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", Reason.BAD_SOCKS, b""),
        (b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", Reason.SOCKS_COMMAND, b"\x05\x00\x05\x07\x00\x01" + bytes(6)),
        (b"\x05\x01\x00\x05\x01\x00\x09\x7f\x00\x00\x01\x00\x50", Reason.BAD_SOCKS, b"\x05\x00\x05\x08\x00\x01" + bytes(6)),
        (b"\x05\x01\x00\x05\x01\x00\x03\x04a b.\x00\x50", Reason.BAD_SOCKS, b"\x05\x00\x05\x08\x00\x01" + bytes(6)),
        (b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", Reason.BAD_SOCKS, b"\x05\x00\x05\x08\x00\x01" + bytes(6)),
    ],
)
async def test_malformed_requests(data: bytes, reason: Reason, answer: bytes) -> None:
    async with talk(data) as (outcome, got):
        assert isinstance(outcome, ClientError)
        assert outcome.reason is reason
        assert got == answer


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes_end_in_a_known_outcome(data: bytes) -> None:
    async def run() -> None:
        async with talk(data, verify) as (outcome, _):
            assert isinstance(outcome, (Target, ClientError, asyncio.IncompleteReadError))

    asyncio.run(run())
