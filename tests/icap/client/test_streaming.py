"""Bodies that are sent to a service while they arrive (C7, ICAP-C23 to C29, C36)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from icap.client import Body, IcapService, Message, Room, Tuning
from icap.client.standing import State
from tests.icap.client.messages import REQUEST, RESPONSE, told
from tests.icap.client.peer import NO_CONTENT, OPTIONS, ScriptedPeer, Talk, scripted
from tests.servers import c_icap

PAGE = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n"
BLOCK = (
    b"ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Eicar;\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n"
    % len(PAGE)
    + PAGE
    + b"4\r\npage\r\n0\r\n\r\n"
)


def message(body: Body) -> Message:
    return Message("RESPMOD", REQUEST, RESPONSE, body)


def ended(data: bytes, room: Room | None = None) -> Body:
    body = Body(room)
    body.feed(data)
    body.end()
    return body


@contextlib.asynccontextmanager
async def service_at(peer: ScriptedPeer, **options: object) -> AsyncIterator[IcapService]:
    service = IcapService(peer.uri, **options)  # type: ignore[arg-type]
    try:
        yield service
    finally:
        await service.close()


async def read_chunks(talk: Talk) -> bytes:
    """A chunked body up to its last chunk."""
    data = bytearray()
    while size := int((await talk.reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        data += await talk.reader.readexactly(size)
        await talk.reader.readexactly(2)
    await talk.reader.readexactly(2)
    return bytes(data)


async def test_icap_c29_the_body_is_sent_while_it_grows() -> None:
    """The service has the first bytes before the last have come."""
    seen: list[bytes] = []
    first = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        seen.append(await talk.exactly(len(b"5\r\nhello\r\n")))
        first.set()
        seen.append(await read_chunks(talk))
        await talk.say(NO_CONTENT)

    async with scripted(script) as peer, service_at(peer) as service:
        body = Body()
        body.feed(b"hello")
        adapting = asyncio.create_task(service.adapt(message(body)))
        await first.wait()
        body.feed(b" world")
        body.end()
        adapted = await adapting
    assert seen == [b"5\r\nhello\r\n", b" world"]
    assert told(adapted) == (Outcome.CLEAN, "ok")
    assert (adapted.verdict.size, adapted.verdict.sha256) == (11, sha256(b"hello world").hexdigest())


@pytest.mark.parametrize(
    ("preview", "pieces", "sent", "rest"),
    [
        (4, [b"he", b"l"], b"3\r\nhel\r\n0; ieof\r\n\r\n", None),
        (4, [b"he", b"ll"], b"4\r\nhell\r\n0; ieof\r\n\r\n", None),
        (4, [b"he", b"llo"], b"4\r\nhell\r\n0\r\n\r\n", b"o"),
        (0, [b"hello"], b"0\r\n\r\n", b"hello"),
    ],
)
async def test_icap_c23_c24_the_preview_is_waited_for(
    preview: int, pieces: list[bytes], sent: bytes, rest: bytes | None
) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        assert await talk.exactly(len(sent)) == sent
        if rest is not None:
            await talk.say(b"ICAP/1.0 100 Continue\r\n\r\n")
            assert await read_chunks(talk) == rest
        await talk.say(NO_CONTENT)

    async with scripted(script, OPTIONS % (b"Preview: %d\r\n" % preview)) as peer, service_at(peer) as service:
        body = Body()
        adapting = asyncio.create_task(service.adapt(message(body)))
        for piece in pieces:
            await asyncio.sleep(0)
            body.feed(piece)
        body.end()
        assert told(await adapting) == (Outcome.CLEAN, "ok")
        assert service.stats.idle == 1, "the connection is clean"


async def test_icap_c24_an_answer_to_the_preview_does_not_wait_for_the_body() -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.exactly(len(b"4\r\nhell\r\n0\r\n\r\n"))
        await talk.say(NO_CONTENT)

    async with scripted(script, OPTIONS % b"Preview: 4\r\n") as peer, service_at(peer) as service:
        body = Body()
        body.feed(b"hello")
        adapted = await service.adapt(message(body))
        assert service.stats.idle == 1
    assert told(adapted) == (Outcome.CLEAN, "ok")
    assert not body.ended
    assert adapted.verdict.sha256 == "", "what has not come has no hash"


async def test_icap_c29_a_block_in_the_middle_ends_the_sending() -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.exactly(len(b"5\r\nhello\r\n"))
        await talk.say(BLOCK)
        await talk.reader.read()

    async with scripted(script) as peer, service_at(peer) as service:
        body = Body()
        body.feed(b"hello")
        adapted = await service.adapt(message(body))
        assert (service.stats.idle, service.stats.busy) == (0, 0), "a request that was not written to its end"
    assert told(adapted) == (Outcome.BLOCKED, "malware_found")
    assert adapted.body == b"page"
    body.feed(b"more")
    assert not body.pressed


async def echo(talk: Talk) -> None:
    await talk.head()
    head = b"HTTP/1.1 200 OK\r\nX-Echo: 1\r\n\r\n"
    await talk.say(b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(head) + head)
    while size := int(await talk.reader.readuntil(b"\r\n"), 16):
        while size:
            data = await talk.reader.read(min(size, 65536))
            size -= len(data)
            await talk.say(b"%x\r\n%b\r\n" % (len(data), data))
        await talk.reader.readexactly(2)
    await talk.reader.readexactly(2)
    await talk.say(b"0\r\n\r\n")


async def test_icap_c29_an_echo_of_more_than_memory_holds(tmp_path: Path) -> None:
    """LIM-04"""
    room = Room(memory=1 << 20, directory=tmp_path)
    async with scripted(echo) as peer, service_at(peer) as service:
        body = Body(room)
        adapting = asyncio.create_task(service.adapt(message(body)))
        for _ in range(128):
            body.feed(b"0123456789abcdef" * 4096)
            await body.relieved()
        body.end()
        adapted = await adapting
        assert service.stats.idle == 1
    assert told(adapted) == (Outcome.MODIFIED, "ok")
    assert isinstance(adapted.body, Body)
    assert (adapted.body.size, adapted.body.sha256) == (body.size, body.sha256)
    assert adapted.body.spilled
    assert room.memory_used <= 1 << 20
    adapted.body.close()
    body.close()
    assert (room.memory_used, room.disk_used) == (0, 0)


async def test_icap_c36_a_connection_found_closed_is_replaced_and_the_body_sent_again() -> None:
    calls = 0

    async def script(talk: Talk) -> None:
        nonlocal calls
        calls += 1
        await talk.head()
        if calls == 2:
            talk.writer.close()
            return
        assert await read_chunks(talk) == b"hello" * 1000
        await talk.say(NO_CONTENT)

    async with scripted(script) as peer, service_at(peer) as service:
        for _ in range(2):
            body = ended(b"hello" * 1000)
            assert told(await service.adapt(message(body))) == (Outcome.CLEAN, "ok")
        assert service.stats.retries == 1
    assert calls == 3


async def test_an_origin_that_breaks_off_is_no_failure_of_the_service() -> None:
    reached = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.exactly(len(b"5\r\nhello\r\n"))
        reached.set()
        await talk.reader.read()

    async with scripted(script) as peer, service_at(peer, tuning=Tuning(failure_limit=1)) as service:
        body = Body()
        body.feed(b"hello")
        adapting = asyncio.create_task(service.adapt(message(body)))
        await reached.wait()
        body.abort(ScanError(Reason.UPSTREAM_CLOSED, "reset"))
        assert told(await adapting) == (Outcome.ERROR, "upstream_closed")
        assert service.standing.state is State.UP


async def test_who_cancels_leaves_nothing_behind() -> None:
    reached = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.exactly(len(b"5\r\nhello\r\n"))
        reached.set()
        await talk.reader.read()

    async with scripted(script) as peer, service_at(peer) as service:
        body = Body(window=100)
        body.feed(b"hello")
        adapting = asyncio.create_task(service.adapt(message(body)))
        await reached.wait()
        adapting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adapting
        assert service.stats.busy == 0
        await asyncio.sleep(0)
        body.feed(b"x" * 1000)
        assert not body.pressed


async def test_a_silent_origin_does_not_use_up_the_service_s_time() -> None:
    """The time of a transaction runs while the service has something to do."""

    async def script(talk: Talk) -> None:
        await talk.head()
        await read_chunks(talk)
        await talk.say(NO_CONTENT)

    async with scripted(script) as peer, service_at(peer, timeout=0.3, tuning=Tuning(stall_timeout=0.1)) as service:
        body = Body()
        body.feed(b"hello")
        adapting = asyncio.create_task(service.adapt(message(body)))
        await asyncio.sleep(0.6)
        body.feed(b"hello")
        body.end()
        assert told(await adapting) == (Outcome.CLEAN, "ok")


async def test_a_service_that_has_everything_and_says_nothing_is_given_up_in_its_time() -> None:
    """ICAP-C37"""

    async def script(talk: Talk) -> None:
        await talk.head()
        await read_chunks(talk)
        await asyncio.Event().wait()

    async with scripted(script) as peer, service_at(peer, timeout=0.5) as service:
        adapted = await service.adapt(message(ended(b"x" * 100_000)))
    assert told(adapted) == (Outcome.ERROR, "icap_timeout")


async def test_a_service_that_takes_nothing_is_given_up_in_its_time(tmp_path: Path) -> None:
    """ICAP-C37"""

    async def script(talk: Talk) -> None:
        await talk.head()
        await asyncio.Event().wait()

    room = Room(directory=tmp_path)
    async with scripted(script) as peer, service_at(peer, timeout=0.5, tuning=Tuning(stall_timeout=0.3)) as service:
        adapted = await service.adapt(message(ended(b"x" * (80 << 20), room)))
    assert told(adapted) == (Outcome.ERROR, "icap_timeout")


async def test_growing_bodies_leave_half_of_the_connections_to_others() -> None:
    """A slow upload holds a connection for as long as it lasts: many must not hold all."""
    growing = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        growing.set()
        await read_chunks(talk)
        await talk.say(NO_CONTENT)

    async with scripted(script) as peer, service_at(peer, max_connections=2) as service:
        slow = [Body() for _ in range(3)]
        for body in slow:
            body.feed(b"drip")
        adapting = [asyncio.create_task(service.adapt(message(body))) for body in slow]
        await growing.wait()
        assert told(await service.adapt(message(ended(b"whole")))) == (Outcome.CLEAN, "ok")
        assert service.stats.busy == 1
        for body in slow:
            body.end()
        assert {told(await each) for each in adapting} == {(Outcome.CLEAN, "ok")}


@pytest.mark.integration
async def test_c_icap_echoes_a_body_that_is_streamed(tmp_path: Path) -> None:
    """ICAP-C23, ICAP-C29 against a real peer: with a preview, 100, and the rest in pieces."""
    with c_icap(None) as peer:
        service = IcapService(peer.uri("echo"))
        room = Room(memory=1 << 20, directory=tmp_path)
        body = Body(room)
        adapting = asyncio.create_task(service.adapt(message(body)))
        for _ in range(64):
            body.feed(b"0123456789abcdef" * 4096)
            await body.relieved()
            await asyncio.sleep(0)
        body.end()
        adapted = await adapting
        await service.close()
    assert adapted.verdict.outcome is Outcome.CLEAN
    assert adapted.verdict.sha256 == body.sha256
    body.close()
    assert room.disk_used == 0


@pytest.mark.security
async def test_a_copy_of_what_has_come_so_far_is_not_the_whole_unmodified() -> None:
    """security: a service that gives back what it has seen, and ends there, has not judged what is still to come."""
    answer = (
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(RESPONSE)
        + RESPONSE
        + b"5\r\nhello\r\n0\r\n\r\n"
    )

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.exactly(len(b"5\r\nhello\r\n"))
        await talk.say(answer)

    async with scripted(script) as peer, service_at(peer) as service:
        body = Body()
        body.feed(b"hello")
        adapted = await service.adapt(message(body))
    assert (adapted.kind, adapted.body) == ("response", b"hello")


@pytest.mark.security
@pytest.mark.parametrize("streamed", [False, True])
async def test_closing_tells_those_who_wait_for_the_options(streamed: bool) -> None:
    """A reload closes services that are no longer used; a message that still waits there must not seem to be cancelled."""
    asked = asyncio.Event()

    async def script(talk: Talk) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with scripted(script, options=None) as peer, service_at(peer) as service:
        body = ended(b"hello") if streamed else b"hello"
        adapting = asyncio.create_task(service.adapt(Message("RESPMOD", REQUEST, RESPONSE, body)))
        await asked.wait()
        await service.close()
        adapted = await adapting
    assert (adapted.verdict.outcome, adapted.verdict.reason) == (Outcome.ERROR, Reason.ICAP_UNREACHABLE)
