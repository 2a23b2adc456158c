"""WebSocket messages put together from frames, up to a limit, and let through one at a time (C7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import HTTPFlow
from mitmproxy.options import Options
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, Ping, TextMessage

from appliance.engine.frames import BadFrame
from appliance.engine.messages import JUDGES, Refusal, Turnstile, Unit, UnitReader
from appliance.engine.websocket import WebSocketRelay
from appliance.engine.websocket_messages import MessageReader
from tests.addons.flows import flow

LIMIT = 1000


def reader(limit: int = LIMIT, *, masked: bool = True, extended: bool = False) -> MessageReader:
    return MessageReader(masked=masked, extended=extended, limit=limit)


def sent(*messages: str | bytes) -> bytes:
    """As a client sends them."""
    peer = Connection(ConnectionType.CLIENT)
    return b"".join(peer.send(TextMessage(each) if isinstance(each, str) else BytesMessage(each)) for each in messages)


class Judge:
    """Refuses what holds ``bad``."""

    limit = LIMIT

    def __init__(self, room: int = 1 << 20) -> None:
        self.room = room
        self.asked: list[Unit] = []
        self.followed: list[Unit] = []

    async def judge(self, unit: Unit) -> Refusal | None:
        self.asked.append(unit)
        return Refusal(1008, "malware_found") if b"bad" in (unit.data or b"") else None

    def follow(self, unit: Unit) -> None:
        self.followed.append(unit)

    def reader(self) -> UnitReader | None:
        return None

    def take(self, size: int) -> bool:
        if size > self.room:
            return False
        self.room -= size
        return True

    def give_back(self, size: int) -> None:
        self.room += size


def gate(judge: Judge) -> Turnstile:
    made: HTTPFlow = flow()
    return Turnstile(made, "websocket_message", reader(), judge)


@given(st.lists(st.tuples(st.binary(max_size=2000), st.booleans()), max_size=5), st.integers(1, 700))
def test_c7_every_message_is_found_and_every_byte_goes_on_as_it_came(messages: list[tuple[bytes, bool]], step: int) -> None:
    peer = Connection(ConnectionType.CLIENT)
    data = b""
    for content, ping in messages:
        data += peer.send(BytesMessage(content[: len(content) // 2], message_finished=False))
        data += peer.send(Ping(b"p")) if ping else b""
        data += peer.send(BytesMessage(content[len(content) // 2 :]))
    found = reader(limit=5000)
    units = [unit for at in range(0, len(data), step) for unit in found.read(data[at : at + step])]
    assert [unit.data for unit in units if unit.data is not None] == [content for content, _ in messages]
    assert sum(len(unit.wire) for unit in units) == len(data)
    assert all(unit.whole and not unit.rest for unit in units)
    assert found.held == 0


@given(st.binary(max_size=400), st.integers(1, 50))
def test_noise_is_messages_or_refused_and_is_never_held_beyond_the_limit(data: bytes, step: int) -> None:
    found = reader(limit=20, extended=True)
    try:
        for at in range(0, len(data), step):
            for unit in found.read(data[at : at + step]):
                assert unit.wire
            assert found.held <= 2 * 20 + 2048 + step
    except BadFrame as error:
        assert str(error)


def test_c7_a_message_at_the_limit_is_whole_and_one_byte_more_is_not() -> None:
    (at,) = reader().read(sent(b"x" * LIMIT))
    (above,) = reader().read(sent(b"x" * (LIMIT + 1)))
    assert (at.whole, at.last, above.whole, above.last) == (True, True, False, True)


def test_c7_beyond_the_limit_the_rest_goes_as_it_comes() -> None:
    found, data = reader(), sent(b"x" * 5000) + sent("next")
    first, second = list(found.read(data[:2000])), list(found.read(data[2000:3000]))
    third, following = found.read(data[3000:])
    assert [(unit.whole, unit.rest, unit.last) for unit in (*first, *second)] == [(False, False, False), (False, True, False)]
    assert (third.rest, third.last) == (True, True)
    assert (following.data, following.whole, following.rest, following.text) == (b"next", True, False, True)
    assert b"".join(unit.wire for unit in (*first, *second, third, following)) == data


@pytest.mark.security
def test_c7_fragments_without_bytes_are_no_way_around_the_limit() -> None:
    found = reader()
    empty = b"\x00\x80\0\0\0\0"
    units = [*found.read(b"\x02\x80\0\0\0\0"), *(unit for _ in range(1000) for unit in found.read(empty))]
    assert units
    assert not units[0].whole
    assert found.held < 5000


async def test_c7_messages_wait_in_order_and_control_frames_among_them() -> None:
    judge = Judge()
    turnstile = gate(judge)
    data = sent("one", "two") + Connection(ConnectionType.CLIENT).send(Ping(b"p"))
    turnstile.feed(data)
    assert list(turnstile.ready()) == []
    assert turnstile.asking is not None
    assert not turnstile.free.is_set()
    passed = [turnstile.answered()]
    assert list(turnstile.ready()) == []
    passed += [turnstile.answered(), *turnstile.ready()]
    assert b"".join(unit.wire for unit in passed) == data
    assert turnstile.free.is_set()
    assert judge.room == 1 << 20


async def test_c7_what_finds_no_memory_is_not_held() -> None:
    judge = Judge(room=300)
    turnstile = gate(judge)
    data = sent(b"x" * 900)
    turnstile.feed(data[:400])
    turnstile.feed(data[400:500])
    assert list(turnstile.ready()) == []
    unit = turnstile.answered()
    assert (unit.crowded, unit.whole) == (True, False)


async def test_c7_a_closed_one_gives_everything_back() -> None:
    judge = Judge()
    turnstile = gate(judge)
    turnstile.feed(sent("one", "two")[:-1])
    list(turnstile.ready())
    assert judge.room < 1 << 20
    turnstile.close()
    assert (judge.room, turnstile.free.is_set(), list(turnstile.ready())) == (1 << 20, True, [])


def test_c7_a_connection_that_is_over_gives_back_what_was_held() -> None:
    made, judge = flow(), Judge()
    made.metadata[JUDGES[True]] = judge
    relay = WebSocketRelay(Context(made.client_conn, Options()), made)
    list(relay.handle_event(events.DataReceived(made.client_conn, sent(b"x" * 900)[:500])))
    assert judge.room < 1 << 20
    relay.release()
    assert judge.room == 1 << 20
