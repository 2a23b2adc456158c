"""What is left of the server's checklist: one write for an answer, who is believed, methods we do not have."""

import asyncio
from base64 import b64encode
from typing import Any
from unittest.mock import Mock

import pytest

from icap.protocol.events import Response
from icap.protocol.headers import Headers
from icap.server.adapt import EchoService, Offer
from icap.server.channel import Channel
from icap.server.exchange import Exchange
from icap.server.keep import KeepBudget
from icap.server.settings import ServerSettings
from tests.icap.server.serving import WholeBodyScanner, chunked, options, reqmod, respmod, serving

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("message", [reqmod(None, "Allow: 204"), respmod(b"x" * 5000), respmod(b"bad"), options()])
async def test_icap_s24_an_answer_is_one_write(message: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small writes would cost a delayed acknowledgement, 40 ms, now and then."""
    writes: list[int] = []
    made = Channel.connection_made

    def spied(channel: Channel, transport: Any) -> None:
        spy = Mock(wraps=transport)
        spy.write = lambda data: (writes.append(len(data)), transport.write(data))
        made(channel, spy)

    monkeypatch.setattr(Channel, "connection_made", spied)
    async with serving(WholeBodyScanner(needle=b"bad")) as running:
        assert (await running.ask(message)).status in (200, 204)
    assert len(writes) == 1


@pytest.mark.parametrize("user", ["!!!not base64", "", b64encode(b"Local://\xff\n").decode(), "A" * 10_000])
async def test_icap_s25_identity_fields_are_never_fatal(user: str) -> None:
    """Nothing is decided by them: who may connect may say what it likes, and only the log of a find repeats it."""
    lines = ("Allow: 204", f"X-Authenticated-User: {user}", f"X-Authenticated-Groups: {user}", "X-Client-IP: not an address")
    async with serving() as running:
        assert (await running.ask(respmod(b"x", *lines))).status == 204


async def test_icap_s26_log_is_a_method_we_do_not_have() -> None:
    async with serving() as running:
        answer = await running.ask(b"LOG icap://server.test/respmod ICAP/1.0\r\nHost: server.test\r\n\r\n")
    assert answer.status == 501


@pytest.mark.parametrize(
    ("uri", "query"),
    [
        ("icap://server.test/echo?mode=a&b=%20c", "mode=a&b=%20c"),
        ("icap://other.name:99/echo/?x", "x"),
        ("icaps://[::1]/echo", ""),
    ],
)
async def test_icap_s14_the_query_reaches_the_service_and_any_name_is_ours(uri: str, query: str) -> None:
    class Asking(EchoService):
        seen: list[str] = []

        def at_once(self, request: object, may_send_204: bool) -> Response | None:
            return None

        async def serve(self, exchange: Exchange) -> None:
            self.seen.append(exchange.query)
            await exchange.answer(Response(204, Headers()))

    service = Asking(Offer("asking"), KeepBudget.of(ServerSettings()), frozenset(("REQMOD",)))
    message = reqmod(None, "Allow: 204").replace(b"icap://server.test/reqmod", uri.encode())
    async with serving(services={"echo": service}) as running:
        assert (await running.ask(message)).status == 204
    assert service.seen == [query]


async def test_icap_s05_100_continue_is_said_once_and_only_when_more_comes() -> None:
    scanner = WholeBodyScanner()
    async with serving(scanner) as running:
        said = await running.raw(
            respmod(b"", "Preview: 4", "Connection: close") + b"4\r\nabcd\r\n0\r\n\r\n5\r\nefghi\r\n0\r\n\r\n"
        )
        assert said.count(b"100 Continue") == 1
        said = await running.raw(respmod(b"", "Preview: 4") + b"4\r\nabcd\r\n0; ieof\r\n\r\n")
        assert b"100 Continue" not in said
    assert scanner.seen == [b"abcdefghi", b"abcd"]


async def test_icap_s07_204_waits_for_the_end_of_the_request() -> None:
    """ICAP-S18: the last byte decides; until it is there, there is no verdict."""
    message = respmod(b"x" * 100, "Allow: 204", service="echo")
    async with serving() as running, await running.open() as client:
        client.writer.write(message[:-1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.readexactly(1), 0.2)
        client.writer.write(message[-1:])
        assert (await client.answer()).status == 204
        assert (await client.ask(options())).status == 200


async def test_icap_s20_extensions_trailers_and_dribble_together() -> None:
    """What c-icap cannot read, and RFC 3507 allows."""
    scanner = WholeBodyScanner()
    body = b'3; a="x;y"; b\r\nabc\r\n02 ;c=d\r\nde\r\n0; last\r\nX-Trailer: 1\r\nX-More: 2\r\n\r\n'
    async with serving(scanner) as running, await running.open() as client:
        for byte in respmod(b"", "Allow: 204").removesuffix(b"0\r\n\r\n") + body:
            client.writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await client.answer()).status == 204
        client.writer.write(respmod(b"", "Preview: 5") + chunked(b"abc", 1) + b"0; x=y; ieof\r\nX-Trailer: 1\r\n\r\n")
        assert (await client.answer()).status == 204
        assert (await client.ask(options())).status == 200
    assert scanner.seen == [b"abcde", b"abc"]
