"""Sets, repeats, chains and bypasses of bodies that are still arriving: who comes later gets every byte as well (C6, C7)."""

import asyncio
from dataclasses import replace

from appliance.domain.verdict import Outcome
from icap.client import Body, Chain, FailPolicy, IcapService, Member, Message, Repeat, ServiceSet
from tests.icap.client.fakes import Fake, answer, trail
from tests.icap.client.messages import download, told
from tests.icap.client.peer import NO_CONTENT, ScriptedPeer, Talk, scripted

HALF = b"a" * 5000
WHOLE = HALF + b"b" * 5000


class Breaking:
    """Reads a part of each body and cuts the connection; ``cut`` is set then."""

    def __init__(self) -> None:
        self.cut = asyncio.Event()

    async def __call__(self, talk: Talk) -> None:
        await talk.head()
        await talk.exactly(1000)
        self.cut.set()
        talk.writer.transport.abort()


async def _reads(talk: Talk) -> None:
    await talk.head()
    await talk.body()
    await talk.say(NO_CONTENT)


def _message(body: Body) -> Message:
    return replace(download(None), body=body)


def _has_all(peer: ScriptedPeer) -> bool:
    return peer.received.count(b"a") >= len(HALF) and peer.received.count(b"b") >= len(WHOLE) - len(HALF)


async def _feed_the_rest(body: Body, after: asyncio.Event) -> None:
    await after.wait()
    body.feed(WHOLE[len(HALF) :])
    body.end()


async def test_icp_06_the_next_member_gets_the_body_from_its_beginning() -> None:
    breaking = Breaking()
    async with scripted(breaking) as bad, scripted(_reads) as good:
        services = [IcapService(bad.uri, name="bad"), IcapService(good.uri, name="good")]
        body = Body()
        body.feed(HALF)
        feeding = asyncio.create_task(_feed_the_rest(body, breaking.cut))
        adapted = await ServiceSet([Member(each) for each in services]).adapt(_message(body))
        await feeding
        assert (told(adapted), trail(adapted)) == ((Outcome.CLEAN, "ok"), [("bad", "failed"), ("good", "clean")])
        assert _has_all(good)
        for each in services:
            await each.close()
        body.close()


async def test_icap_c39_a_bypass_leaves_the_body_whole() -> None:
    breaking = Breaking()
    async with scripted(breaking) as bad:
        service = IcapService(bad.uri, name="bad")
        body = Body()
        body.feed(HALF)
        feeding = asyncio.create_task(_feed_the_rest(body, breaking.cut))
        adapted = await FailPolicy(Repeat(service, 1), on_error="bypass").adapt(_message(body))
        await feeding
        assert trail(adapted) == [("bad", "failed"), ("bad", "bypassed")]
        assert body.read(0, body.size) == WHOLE
        await service.close()
        body.close()


async def test_c6_every_link_gets_the_whole_body() -> None:
    async with scripted(_reads) as one, scripted(_reads) as two:
        services = [IcapService(one.uri, name="one"), IcapService(two.uri, name="two")]
        body, begun = Body(), asyncio.Event()
        body.feed(HALF)
        begun.set()
        feeding = asyncio.create_task(_feed_the_rest(body, begun))
        adapted = await Chain(services).adapt(_message(body))
        await feeding
        assert trail(adapted) == [("one", "clean"), ("two", "clean")]
        assert _has_all(one)
        assert _has_all(two)
        for each in services:
            await each.close()
        body.close()


async def test_c6_what_a_link_made_and_nobody_uses_gives_its_room_back() -> None:
    made = Body()
    made.feed(b"changed")
    made.end()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    changed = replace(answer("one", Outcome.MODIFIED), kind="response", head=head, body=made)
    blocked = answer("two", Outcome.BLOCKED)
    adapted = await Chain([Fake(changed), Fake(blocked)]).adapt(_message(Body()))
    assert (adapted.kind, adapted.body, adapted.verdict.outcome) == ("unmodified", None, Outcome.BLOCKED)
    assert made._closed
