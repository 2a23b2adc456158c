"""What a peer can do wrong, or unusually, as two tables: a server before our client, and a client before our server.

The last column is what must come of it. Nothing here may end as clean that was not looked at whole.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from appliance.domain.verdict import Outcome
from icap.client import IcapService, Tuning
from icap.server.settings import ServerSettings
from tests.icap.client.messages import download, told
from tests.icap.client.peer import NO_CONTENT, OPTIONS, Talk, scripted
from tests.icap.client.test_service import PAGE, modified
from tests.icap.server.serving import Client, WholeBodyScanner, chunked, options, respmod, serving

pytestmark = pytest.mark.integration

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
CONTINUE = b"ICAP/1.0 100 Continue\r\n\r\n"
PREVIEW = OPTIONS % b"Preview: 4\r\n"


def says(answer: bytes, *, close: bool = False) -> Callable[[Talk], Awaitable[None]]:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.body()
        await talk.say(answer)
        if close:
            talk.writer.close()

    return script


async def half_closes(talk: Talk) -> None:
    await talk.head()
    await talk.body()
    await talk.say(NO_CONTENT[:20])
    talk.writer.write_eof()
    await talk.reader.read()


async def resets(talk: Talk) -> None:
    await talk.head()
    await talk.body()
    await talk.say(modified(PAGE, b"x" * 100)[:-50])
    sock = talk.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.writer.transport.abort()


async def answers_before_the_body_is_there(talk: Talk) -> None:
    await talk.head()
    await talk.say(modified(PAGE, b"early"))
    await talk.body()


async def is_silent(talk: Talk) -> None:
    await talk.head()
    await talk.reader.read()


BY_SERVERS: list[tuple[str, Callable[[Talk], Awaitable[None]], Outcome, str]] = [
    ("chunk extensions", says(modified(PAGE, b"x").replace(b"1\r\nx", b'1; a="b;c" ; d\r\nx')), Outcome.MODIFIED, "ok"),
    ("trailers", says(modified(PAGE, b"x").replace(b"0\r\n\r\n", b"0\r\nX-T: 1\r\nX-U: 2\r\n\r\n")), Outcome.MODIFIED, "ok"),
    ("an early answer", answers_before_the_body_is_there, Outcome.MODIFIED, "ok"),
    ("an answer and the end", says(NO_CONTENT, close=True), Outcome.CLEAN, "ok"),
    ("Max-Connections reached", says(b"ICAP/1.0 503 Overloaded\r\n\r\n"), Outcome.ERROR, "icap_overload"),
    ("100 without a preview", says(CONTINUE + NO_CONTENT), Outcome.ERROR, "icap_protocol_error"),
    ("half an answer and its side closed", half_closes, Outcome.ERROR, "icap_error"),
    ("a reset inside the body", resets, Outcome.ERROR, "icap_error"),
    ("a body shorter than announced", says(modified(HEAD % 6, b"12345")), Outcome.BLOCKED, "icap_protocol_error"),
    ("a body longer than announced", says(modified(HEAD % 4, b"12345")), Outcome.ERROR, "icap_protocol_error"),
    ("too long a chunk", says(modified(PAGE, b"x").replace(b"1\r\nx", b"1\r\nxy")), Outcome.ERROR, "icap_protocol_error"),
    ("a negative chunk", says(modified(PAGE, b"x").replace(b"1\r\nx", b"-1\r\nx")), Outcome.ERROR, "icap_protocol_error"),
    ("offsets that lie", says(modified(PAGE, b"x").replace(b"res-body=", b"res-body=1")), Outcome.ERROR, "icap_timeout"),
    ("silence", is_silent, Outcome.ERROR, "icap_timeout"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "outcome", "reason"), [row[1:] for row in BY_SERVERS], ids=[row[0] for row in BY_SERVERS])
async def test_icp_05_faults_of_a_server(script: Callable[[Talk], Awaitable[None]], outcome: Outcome, reason: str) -> None:
    """ICAP-C08, ICAP-C24, ICAP-C29, ICAP-C32, ICAP-C37, ICAP-C40"""
    async with scripted(script) as peer:
        service = IcapService(peer.uri, timeout=0.6, tuning=Tuning(stall_timeout=0.3))
        adapted = await service.adapt(download(b"hello"))
        assert told(adapted) == (outcome, reason)
        assert service.stats.busy == 0
        await service.close()


async def test_icap_c24_a_server_that_says_100_after_ieof_is_still_understood() -> None:
    async with scripted(says(CONTINUE + NO_CONTENT), PREVIEW) as peer:
        service = IcapService(peer.uri)
        for _ in range(2):
            assert told(await service.adapt(download(b"hi"))) == (Outcome.CLEAN, "ok")
        await service.close()
    assert len(peer.talks) == 1


ALLOW = "Allow: 204"
START = respmod(b"", ALLOW).removesuffix(b"0\r\n\r\n")

BY_CLIENTS: list[tuple[str, bytes, bool, list[int], list[bytes]]] = [
    # what is sent, whether the client then closes its side, the statuses that come, the bodies that were scanned
    ("chunk extensions", START + b'2; a="b;c" ; d\r\nab\r\n0; e\r\n\r\n', False, [204], [b"ab"]),
    ("trailers", START + b"2\r\nab\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n", False, [204], [b"ab"]),
    ("its side closed behind the request", START + chunked(b"ab") + b"0\r\n\r\n", True, [204], [b"ab"]),
    ("its side closed inside the body", START + b"5\r\nab", True, [], []),
    ("its side closed inside the head", START[:50], True, [], []),
    ("its side closed behind a preview", respmod(b"", "Preview: 2") + b"2\r\nab\r\n0\r\n\r\n", True, [100], []),
    ("no waiting for 100", respmod(b"", "Preview: 2") + (b"2\r\nab\r\n0\r\n\r\n" * 2), True, [100, 200], [b"abab"]),
    ("more than its preview", respmod(b"", "Preview: 2") + b"3\r\nabc\r\n0\r\n\r\n", False, [400], []),
    ("ieof without a preview", START + b"2\r\nab\r\n0; ieof\r\n\r\n", False, [204], [b"ab"]),
    ("a chunk longer than its size", START + b"2\r\nabc\r\n0\r\n\r\n", False, [400], []),
    ("a size beyond all bounds", START + b"FFFFFFFFFFFF\r\n", False, [413], []),
    ("another protocol", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", False, [400], []),
    ("garbage behind a request", options() + b"\x00\xff\r\n\r\n", False, [200, 400], []),
    ("blank lines", b"\r\n\r\n" + options(), False, [200], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "ends", "statuses", "scanned"), [row[1:] for row in BY_CLIENTS], ids=[row[0] for row in BY_CLIENTS]
)
async def test_icp_12_faults_of_a_client(sent: bytes, ends: bool, statuses: list[int], scanned: list[bytes]) -> None:
    """ICAP-S05, ICAP-S16, ICAP-S18, ICAP-S20"""
    scanner = WholeBodyScanner()
    settings = ServerSettings(tick=0.02, idle_timeout=0.3, header_timeout=0.3, body_timeout=0.3, linger_timeout=0.2)
    async with serving(scanner, settings) as running:
        said = await running.raw(sent, end=ends)
        assert [int(line[9:12]) for line in said.split(b"\r\n") if line.startswith(b"ICAP/1.0 ")] == statuses
        assert scanner.seen == scanned
        assert (await running.ask(options())).status == 200


async def test_icap_s13_above_the_cap_503_and_room_again_when_one_leaves() -> None:
    """ICAP-C40: and our own client takes it for overload, keeps to fewer connections, and comes back."""
    settings = ServerSettings(tick=0.02, max_connections=1)
    async with serving(WholeBodyScanner(), settings) as running:
        service = IcapService(f"icap://127.0.0.1:{running.port}/respmod")
        async with Client(*await asyncio.open_connection("127.0.0.1", running.port)) as holder:
            assert (await holder.ask(options())).status == 200
            adapted = await service.adapt(download(b"x"))
            assert adapted.verdict.outcome is Outcome.ERROR
        while running.ledger.open:
            await asyncio.sleep(0.01)
        assert told(await service.adapt(download(b"x"))) == (Outcome.CLEAN, "ok")
        await service.close()
