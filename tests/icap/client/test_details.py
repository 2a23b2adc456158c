"""What is left of the client's checklist, each against a scripted peer."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from appliance.domain.verdict import Outcome
from icap.client import IcapService, Identity, Message, Tuning
from tests.icap.client.messages import RESPONSE, download, told
from tests.icap.client.peer import NO_CONTENT, OPTIONS, Talk, scripted
from tests.icap.client.test_service import PAGE, answering, modified

PREVIEW_2 = OPTIONS.replace(b"Allow: 204", b"Allow: 204, 206, trailers, x-y") % b"Preview: 2\r\n"
BOTH = OPTIONS.replace(b"Allow: 204", b"Allow: 204, 206") % b""


def partial(body: bytes, last: bytes, length: int | None = None) -> bytes:
    head = b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: %d\r\n\r\n" % length if length is not None else b"\r\n")
    return modified(head, body, status=b"206 Partial Content").removesuffix(b"0\r\n\r\n") + last + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "outcome", "body"),
    [
        (partial(b"AB", b"0; use-original-body=2"), Outcome.MODIFIED, b"ABllo"),
        (partial(b"", b"0; use-original-body=0"), Outcome.MODIFIED, b"hello"),
        (partial(b"", b"0; use-original-body=4"), Outcome.MODIFIED, b"o"),
        (partial(b"AB", b"0; use-original-body=5"), Outcome.MODIFIED, b"AB"),
        (partial(b"AB", b"0; a=b; Use-Original-Body=2; c"), Outcome.MODIFIED, b"ABllo"),
        (partial(b"AB", b"0"), Outcome.MODIFIED, b"AB"),  # nothing is to be appended
        (partial(b"AB", b"0; use-original-body=6"), Outcome.ERROR, None),
        (partial(b"AB", b"0; use-original-body"), Outcome.ERROR, None),
        (partial(b"AB", b"0; use-original-body=-1"), Outcome.ERROR, None),
        (partial(b"AB", b"0; use-original-body=2", 5), Outcome.MODIFIED, b"ABllo"),
        (partial(b"AB", b"0; use-original-body=2", 4), Outcome.ERROR, None),
        (partial(b"AB", b"0; use-original-body=2", 6), Outcome.BLOCKED, None),  # shorter than announced
        (modified(RESPONSE, b"AB").replace(b"\r\n0\r\n", b"\r\n0; use-original-body=2\r\n"), Outcome.ERROR, None),
        (b"ICAP/1.0 206 OK\r\n\r\n", Outcome.ERROR, None),
        (b"ICAP/1.0 206 OK\r\nEncapsulated: null-body=0\r\n\r\n", Outcome.ERROR, None),
    ],
)
async def test_icap_c28_partial_answers(answer: bytes, outcome: Outcome, body: bytes | None) -> None:
    """ICAP-C08, ICAP-C32"""
    async with scripted(answering(answer), BOTH) as peer:
        service = IcapService(peer.uri, tuning=Tuning(allow_206=True))
        adapted = await service.adapt(download(b"hello"))
        await service.close()
    assert (adapted.verdict.outcome, adapted.body) == (outcome, body)


@pytest.mark.parametrize(("offered", "allowed"), [(b"204, 206, trailers, x-y", b"Allow: 204, 206"), (b"204", b"Allow: 204")])
async def test_icap_c27_206_is_asked_of_who_offers_it(offered: bytes, allowed: bytes) -> None:
    """ICAP-C18: and words in Allow that we do not know are passed over."""
    options = OPTIONS.replace(b"Allow: 204", b"Allow: " + offered) % b""
    async with scripted(answering(NO_CONTENT), options) as peer:
        service = IcapService(peer.uri, tuning=Tuning(allow_206=True))
        assert told(await service.adapt(download())) == (Outcome.CLEAN, "ok")
        await service.close()
    assert allowed + b"\r\n" in peer.received.partition(b"RESPMOD")[2]


@pytest.mark.parametrize(
    ("answer", "outcome", "reason", "body"),
    [
        (NO_CONTENT, Outcome.CLEAN, "ok", None),
        (modified(PAGE, b"x"), Outcome.MODIFIED, "ok", b"x"),
        (partial(b"AB", b"0; use-original-body=2"), Outcome.MODIFIED, "ok", b"ABllo"),
        (b"ICAP/1.0 400 Bad\r\n\r\n", Outcome.ERROR, "icap_error", None),
        (b"ICAP/1.0 500 Error\r\nEncapsulated: null-body=0\r\n\r\n", Outcome.ERROR, "icap_error", None),
        (b"ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 100 Continue\r\n\r\n", Outcome.ERROR, "icap_protocol_error", None),
        (b"ICAP/1.0 102 Processing\r\n\r\n", Outcome.ERROR, "icap_protocol_error", None),
    ],
)
async def test_icap_c24_every_answer_to_a_preview(answer: bytes, outcome: Outcome, reason: str, body: bytes | None) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.exactly(len(b"2\r\nhe\r\n0\r\n\r\n"))
        await talk.say(answer)

    async with scripted(script, PREVIEW_2) as peer:
        service = IcapService(peer.uri, tuning=Tuning(allow_206=True))
        adapted = await service.adapt(download(b"hello"))
        await service.close()
    assert (*told(adapted), adapted.body) == (outcome, reason, body)
    if outcome is not Outcome.ERROR:
        assert b"llo" not in peer.received.partition(b"he\r\n0\r\n\r\n")[2]


@pytest.mark.parametrize("body", [b"", b"h", b"he"])
async def test_icap_c24_100_after_ieof_is_passed_over_once(body: bytes) -> None:
    async def script(talk: Talk) -> None:
        head = await talk.head()
        if b"null-body" not in head:
            await talk.body()
        await talk.say((b"ICAP/1.0 100 Continue\r\n\r\n" if body else b"") + NO_CONTENT)

    async with scripted(script, PREVIEW_2) as peer:
        service = IcapService(peer.uri)
        for _ in range(2):
            assert told(await service.adapt(download(body))) == (Outcome.CLEAN, "ok")
        await service.close()
    assert len(peer.talks) == 1


async def test_icap_c20_only_known_identity_is_sent() -> None:
    """ICAP-C42: nothing is made up for what is not known; configuration decides what is passed here at all."""
    async with scripted(answering(NO_CONTENT)) as peer:
        service = IcapService(peer.uri)
        await service.adapt(Message("REQMOD", b"GET http://h/ HTTP/1.1\r\n\r\n", None, None, Identity()))
        await service.close()
    assert b"X-" not in peer.received


async def test_icap_c05_no_transfer_encoding_on_the_wire() -> None:
    """ICAP-C04: neither outside nor inside; the body is chunked by us, and the encapsulated head says nothing of it."""
    async with scripted(answering(NO_CONTENT), PREVIEW_2) as peer:
        service = IcapService(peer.uri)
        await service.adapt(download(b"h"))
        await service.close()
    assert b"transfer-encoding" not in peer.received.lower()
    assert peer.received.endswith(b"1\r\nh\r\n0; ieof\r\n\r\n")


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """A port where connections are taken and nothing is ever said."""
    sock = socket.create_server(("127.0.0.1", 0))
    yield sock.getsockname()[1]
    sock.close()


async def test_icap_c37_a_tls_handshake_that_is_never_answered(silent: int) -> None:
    service = IcapService(f"icaps://127.0.0.1:{silent}/s", connect_timeout=0.2)
    assert told(await service.adapt(download())) == (Outcome.ERROR, "icap_unreachable")
    await service.close()


async def test_icap_c37_a_full_backlog_is_no_connection() -> None:
    """As behind a firewall that drops: the kernel never answers the SYN."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        port = sock.getsockname()[1]
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        await asyncio.sleep(0.1)
        service = IcapService(f"icap://127.0.0.1:{port}/s", connect_timeout=0.2)
        adapted = await service.adapt(download())
        await service.close()
        for filler in fillers:
            filler.close()
    assert told(adapted) == (Outcome.ERROR, "icap_unreachable")
    assert "no connection within 0.2 s" in adapted.verdict.detail
