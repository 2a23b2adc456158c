"""TLS-12: what is kept of connections to servers, for whom, how much of it and for how long."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.connection import ConnectionState
from OpenSSL import SSL

from appliance.domain.clock import ManualClock
from appliance.domain.facts import ClientFacts, UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, EscapeNotes, TlsNotes
from appliance.engine.context import TaskServer
from appliance.engine.idle_servers import Claim, IdleServers, Keeping, Kept

A, B = TenantId("a"), TenantId("b")
CLAIM = Claim(A, "192.0.2.1", UserFacts("alice", "staff"), "explicit", ("o.test", 443), "o.test", (b"http/1.1",))
CONN = ConnNotes(ClientFacts("192.0.2.1", 1, "explicit"))
EVERYBODY_ELSE = [
    replace(CLAIM, tenant=B),
    replace(CLAIM, client_ip="192.0.2.2"),
    replace(CLAIM, user=None),
    replace(CLAIM, user=UserFacts("bob", "staff")),
    replace(CLAIM, user=UserFacts("alice", "guests")),
    replace(CLAIM, listener="other"),
    replace(CLAIM, address=("o.test", 8443)),
    replace(CLAIM, address=("p.test", 443)),
    replace(CLAIM, sni="p.test"),
    replace(CLAIM, sni=""),
    replace(CLAIM, alpn=()),
    replace(CLAIM, alpn=(b"h2", b"http/1.1")),
]


class Transport:
    def __init__(self) -> None:
        self.protocol: asyncio.Protocol = asyncio.Protocol()
        self.closed = False

    def get_protocol(self) -> asyncio.Protocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def abort(self) -> None:
        self.closed = True

    def get_extra_info(self, _name: str) -> None:
        return None


class Writer:
    def __init__(self) -> None:
        self.transport = Transport()

    def is_closing(self) -> bool:
        return self.transport.closed


class Reading:
    def __init__(self, *, done: bool) -> None:
        self.is_done = done

    def done(self) -> bool:
        return self.is_done


def made(clock: ManualClock, claim: Claim = CLAIM, not_after: float = 9e9) -> Kept:
    server = TaskServer(address=claim.address, state=ConnectionState.OPEN)
    tls = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
    writer = cast(asyncio.StreamWriter, Writer())
    way = EscapeNotes(path=("direct",), resolved_ip="198.51.100.1")
    reader = cast(asyncio.StreamReader, None)
    return Kept(claim, server, tls, TlsNotes(), way, reader, writer, clock.ticks, not_after, clock.ticks)


def transport(kept: Kept) -> Transport:
    return cast(Transport, kept.writer.transport)


def pool(clock: ManualClock, stands: Callable[..., bool] = lambda *_: True, capacity: int = 100, **more: Any) -> IdleServers:
    settings = Keeping(**{"idle": 10.0, "max_age": 60.0, "per_client": 4} | more)
    return IdleServers({A: settings, B: settings}, stands, clock, capacity)


def test_tls_12_who_left_it_gets_it_once() -> None:
    clock = ManualClock()
    idle, kept = pool(clock), made(clock)
    before = transport(kept).protocol
    assert idle.keep(CONN, kept)
    assert transport(kept).protocol is not before
    assert idle.take(CONN, CLAIM) is kept
    assert transport(kept).protocol is before
    assert not transport(kept).closed
    assert idle.take(CONN, CLAIM) is None
    assert (len(idle), idle.counters) == (0, {"kept": 1, "reused": 1})


@pytest.mark.security
@pytest.mark.parametrize("claim", EVERYBODY_ELSE)
def test_tls_12_nobody_else_gets_it(claim: Claim) -> None:
    clock = ManualClock()
    idle = pool(clock)
    idle.keep(CONN, made(clock))
    assert idle.take(CONN, claim) is None
    assert len(idle) == 1


def test_tls_12_the_one_left_last_is_given_first() -> None:
    clock = ManualClock()
    idle, one, two = pool(clock), made(clock), made(clock)
    assert idle.keep(CONN, one)
    assert idle.keep(CONN, two)
    assert [idle.take(CONN, CLAIM), idle.take(CONN, CLAIM)] == [two, one]


@pytest.mark.parametrize(
    ("seconds", "settings", "cause"),
    [(10.0, {}, "idle"), (10.0, {"idle": 60.0, "max_age": 10.0}, "age"), (10.0, {"idle": 60.0}, "certificate")],
)
def test_tls_12_it_ends_at_the_limit_and_not_before(seconds: float, settings: dict[str, float], cause: str) -> None:
    clock = ManualClock()
    idle = pool(clock, **settings)
    not_after = clock.time + 10.0 if cause == "certificate" else 9e9
    kept = made(clock, not_after=not_after)
    assert idle.keep(CONN, kept)
    clock.advance(seconds - 0.001)
    idle.check_deadline(0.0)
    assert (len(idle), transport(kept).closed) == (1, False)
    clock.advance(0.001)
    idle.check_deadline(0.0)
    assert (len(idle), transport(kept).closed) == (0, True)
    assert idle.dropped == {cause: 1}
    assert kept.server.timestamp_end


@pytest.mark.security
def test_tls_12_what_has_ended_is_not_given_even_before_anybody_looks() -> None:
    clock = ManualClock()
    idle, kept = pool(clock), made(clock)
    idle.keep(CONN, kept)
    clock.advance(10.0)
    assert idle.take(CONN, CLAIM) is None
    assert transport(kept).closed


def test_tls_12_age_counts_from_the_handshake_however_often_it_is_used() -> None:
    clock = ManualClock()
    idle, kept = pool(clock), made(clock)
    for _ in range(11):
        kept.rested = clock.ticks
        assert idle.keep(CONN, kept)
        clock.advance(5.0)
        assert idle.take(CONN, CLAIM) is kept
    clock.advance(5.0)
    kept.rested = clock.ticks
    assert not idle.keep(CONN, kept)
    assert not transport(kept).closed  # still whose it was


def test_tls_12_a_client_has_so_many_and_loses_its_oldest() -> None:
    clock = ManualClock()
    idle = pool(clock, per_client=3)
    mine = [made(clock) for _ in range(4)]
    others = made(clock, replace(CLAIM, client_ip="192.0.2.2"))
    idle.keep(CONN, others)
    for kept in mine[:3]:
        idle.keep(CONN, kept)
    assert (len(idle), idle.dropped) == (4, {})
    idle.keep(CONN, mine[3])
    assert [transport(kept).closed for kept in (others, *mine)] == [False, True, False, False, False]
    assert idle.dropped == {"evicted": 1}


def test_tls_12_a_worker_has_so_many_and_loses_the_oldest_of_all() -> None:
    clock = ManualClock()
    idle = pool(clock, capacity=3)
    everyones = [made(clock, replace(CLAIM, client_ip=f"192.0.2.{number}")) for number in range(4)]
    for kept in everyones[:3]:
        idle.keep(CONN, kept)
    assert (len(idle), idle.dropped) == (3, {})
    idle.keep(CONN, everyones[3])
    assert (len(idle), [transport(kept).closed for kept in everyones]) == (3, [True, False, False, False])


@pytest.mark.security
@pytest.mark.parametrize(
    "say", [lambda p: p.data_received(b"x"), lambda p: p.eof_received(), lambda p: p.connection_lost(None)]
)
def test_tls_12_a_server_that_stirs_is_let_go(say: Callable[[asyncio.Protocol], object]) -> None:
    clock = ManualClock()
    idle, kept = pool(clock), made(clock)
    idle.keep(CONN, kept)
    say(transport(kept).protocol)
    assert transport(kept).closed
    assert idle.take(CONN, CLAIM) is None
    assert idle.dropped == {"server": 1}
    transport(kept).protocol.connection_lost(None)  # the end of what was closed changes nothing any more
    assert idle.dropped == {"server": 1}


@pytest.mark.security
def test_tls_12_the_way_out_is_judged_when_it_is_left_and_when_it_is_taken() -> None:
    clock, answers = ManualClock(), [False, True, False]
    idle, kept = pool(clock, lambda *_: answers.pop(0)), made(clock)
    assert not idle.keep(CONN, kept)
    assert idle.keep(CONN, kept)
    assert idle.take(CONN, CLAIM) is None
    assert transport(kept).closed
    assert idle.dropped == {"way": 1}


@pytest.mark.security
def test_tls_12_a_server_that_was_refused_since_is_not_talked_to() -> None:
    clock = ManualClock()
    idle, kept, elsewhere = pool(clock), made(clock), made(clock, replace(CLAIM, address=("p.test", 443)))
    others = made(clock, replace(CLAIM, tenant=B))
    for each in (kept, elsewhere, others):
        idle.keep(CONN, each)
    idle.forget(A, CLAIM.address)
    assert [transport(each).closed for each in (kept, elsewhere, others)] == [True, False, False]
    assert idle.dropped == {"refused": 1}


def test_tls_12_nothing_is_kept_by_a_worker_that_leaves() -> None:
    clock = ManualClock()
    idle, kept, late = pool(clock), made(clock), made(clock)
    idle.keep(CONN, kept)
    idle.close()
    assert transport(kept).closed
    assert not idle.keep(CONN, late)
    assert (len(idle), idle.dropped) == (0, {"leaving": 1})


def test_tls_12_nothing_is_kept_for_a_tenant_that_does_not_want_it() -> None:
    clock = ManualClock()
    idle = pool(clock)
    assert not idle.keep(CONN, made(clock, replace(CLAIM, tenant=TenantId("c"))))
    assert len(idle) == 0


def test_tls_12_it_is_not_given_while_its_last_reader_has_not_let_go() -> None:
    clock = ManualClock()
    idle, kept, reading = pool(clock), made(clock), Reading(done=False)
    kept.reading = cast("asyncio.Task[None]", reading)
    idle.keep(CONN, kept)
    assert idle.take(CONN, CLAIM) is None
    reading.is_done = True
    assert idle.take(CONN, CLAIM) is kept


def test_tls_12_a_worker_keeps_something() -> None:
    with pytest.raises(ValueError, match="capacity"):
        pool(ManualClock(), capacity=0)


@pytest.mark.security
@given(st.lists(st.tuples(st.sampled_from(["keep", "take", "stir", "wait"]), st.integers(0, len(EVERYBODY_ELSE))), max_size=60))
def test_tls_12_whatever_happens_the_limits_and_the_claims_hold(steps: list[tuple[str, int]]) -> None:
    clock = ManualClock()
    idle, claims, alive = pool(clock, capacity=5, per_client=2), [CLAIM, *EVERYBODY_ELSE], list[Kept]()
    for step, number in steps:
        if step == "keep":
            alive.append(made(clock, claims[number]))
            assert idle.keep(CONN, alive[-1])
        elif step == "take":
            got = idle.take(CONN, claims[number])
            assert got is None or (got.claim == claims[number] and not transport(got).closed)
            alive = [kept for kept in alive if kept is not got]
        elif step == "stir" and alive:
            transport(alive[number % len(alive)]).protocol.eof_received()
        else:
            clock.advance(4.0)
            idle.check_deadline(0.0)
        alive = [kept for kept in alive if not transport(kept).closed]
        assert len(idle) == len(alive) <= 5
        clients = [(kept.claim.tenant, kept.claim.client_ip) for kept in alive]
        assert all(clients.count(client) <= 2 for client in clients)
