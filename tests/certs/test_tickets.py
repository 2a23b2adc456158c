"""Tickets of one worker shown to another (TLS-12), and to whom they are not good."""

import logging
from dataclasses import replace

import pytest
from OpenSSL import SSL

from appliance.domain.clock import ManualClock
from certs import server_context, ticket_memory, tickets
from certs.authority import Authority
from certs.cache import Leaf, LeafCache
from certs.profile import LeafProfile
from certs.server_context import ClientFloor
from certs.ticket_keys import PERIOD, Seed, SeedHolder, TicketKeys
from certs.ticket_memory import TicketMemoryError, locate
from certs.tickets import Tickets, scope_of
from tests.certs.tls_pair import handshake

PROFILE = LeafProfile.for_host("www.example.com")
SCOPE = scope_of("a", "ca", PROFILE)


class Worker:
    """A process of its own, as far as OpenSSL can tell: its own leaf, its own contexts."""

    def __init__(self, leaf: Leaf, holder: SeedHolder, clock: ManualClock, chain: tuple[()] = ()) -> None:
        self.context = server_context.build(leaf.certificate, leaf.key, chain)
        self.tickets = Tickets(TicketKeys(Seed.from_bytes(holder()), clock), locate())


def meet(
    worker: Worker, session: SSL.Session | None = None, scope: bytes = SCOPE, ticket: bytes = b"", *, tls12: bool = False
) -> tuple[bool, SSL.Session, bytes]:
    """One connection: was it resumed, its session, and the beginning of its ticket."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if tls12:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    client = SSL.Connection(context)
    client.set_connect_state()
    if session is not None:
        client.set_session(session)
    server = worker.tickets.connection(worker.context, scope, ticket)
    assert handshake(client, server) is None
    server.send(b"x")
    client.bio_write(server.bio_read(65536))
    assert client.recv(1) == b"x"
    resumed = bool(vars(SSL)["_lib"].SSL_session_reused(vars(client)["_ssl"]))
    kept = client.get_session()
    assert kept is not None
    found = ticket_memory._ticket_of(client)[:16]
    client.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
    return resumed, kept, found


@pytest.fixture
def ticking() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def leaf(authority: Authority) -> Leaf:
    return await LeafCache(authority, 10, 3600).get(PROFILE)


@pytest.fixture
def holder(ticking: ManualClock) -> SeedHolder:
    return SeedHolder(ticking)


@pytest.mark.parametrize("tls12", [False, True], ids=["TLS 1.3", "TLS 1.2"])
def test_tls_12_a_ticket_of_one_worker_is_good_in_another(
    leaf: Leaf, holder: SeedHolder, ticking: ManualClock, tls12: bool
) -> None:
    first, second = Worker(leaf, holder, ticking), Worker(leaf, holder, ticking)
    resumed, session, _ = meet(first, tls12=tls12)
    assert not resumed
    assert meet(second, session, tls12=tls12)[0]


def test_workers_without_common_keys_accept_their_own_alone(leaf: Leaf, ticking: ManualClock) -> None:
    first, second = (Worker(leaf, SeedHolder(ticking), ticking) for _ in range(2))
    _, session, _ = meet(first)
    assert not meet(second, session)[0]
    assert meet(first, meet(first)[1])[0]


@pytest.mark.security
@pytest.mark.parametrize("tls12", [False, True], ids=["TLS 1.3", "TLS 1.2"])
@pytest.mark.parametrize("scope", [
    scope_of("b", "ca", PROFILE), scope_of("a", "other", PROFILE), scope_of("a", "ca", LeafProfile.for_host("other.test")),
    scope_of("a", "ca", replace(PROFILE, not_after=2e9)), scope_of("a", "ca", PROFILE, ClientFloor("1.3")),
    scope_of("a", "ca", PROFILE, revocations="1"), b"",
], ids=["tenant", "ca", "host", "another certificate", "floor", "a revocation", "none"])  # fmt: skip
def test_tls_12_a_ticket_is_good_for_its_tenant_ca_and_leaf_alone(
    leaf: Leaf, holder: SeedHolder, ticking: ManualClock, scope: bytes, tls12: bool
) -> None:
    worker = Worker(leaf, holder, ticking)
    _, session, ticket = meet(worker, tls12=tls12)
    assert not meet(worker, session, scope, ticket, tls12=tls12)[0]
    assert meet(worker, meet(worker, tls12=tls12)[1], tls12=tls12)[0]


@pytest.mark.security
def test_tls_12_connections_of_two_tenants_at_once_do_not_mix(leaf: Leaf, holder: SeedHolder, ticking: ManualClock) -> None:
    """One leaf serves every tenant of its CA. The scope belongs to the connection, whoever came in between."""
    worker, other = Worker(leaf, holder, ticking), scope_of("b", "ca", PROFILE)
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    client.set_connect_state()
    server = worker.tickets.connection(worker.context, SCOPE)
    meet(worker, scope=other)
    assert handshake(client, server) is None
    server.send(b"x")
    client.bio_write(server.bio_read(65536))
    client.recv(1)
    session = client.get_session()
    client.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
    assert not meet(worker, session, other)[0]
    assert meet(worker, session, SCOPE)[0]


def test_a_ticket_is_accepted_for_a_period_after_its_own(leaf: Leaf, holder: SeedHolder, ticking: ManualClock) -> None:
    worker = Worker(leaf, holder, ticking)
    _, session, ticket = meet(worker)
    ticking.advance(PERIOD)
    resumed, newer, name = meet(worker, session, ticket=ticket)
    assert resumed
    assert name == ticket  # by the key that opened it, for this one connection
    assert meet(worker)[2] != ticket
    ticking.advance(PERIOD)
    assert not meet(worker, newer, ticket=name)[0]


def test_a_scope_has_a_limit(leaf: Leaf) -> None:
    assert len(SCOPE) == 32
    with pytest.raises(ValueError, match="32"):
        Tickets(None, None).connection(leaf.context, b"x" * 33)


def test_without_shared_keys_tickets_are_made_all_the_same(
    leaf: Leaf, ticking: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise TicketMemoryError("not where it should be")

    monkeypatch.setattr(tickets, "locate", fails)
    with caplog.at_level(logging.WARNING):
        made = tickets.tickets(TicketKeys(Seed.new(ticking), ticking))
    assert not made.shared
    assert "one worker only: not where it should be" in caplog.text
    worker = Worker(leaf, SeedHolder(ticking), ticking)
    worker.tickets = made
    _, session, _ = meet(worker)
    assert meet(worker, session)[0]
    assert tickets.Tickets(TicketKeys(Seed.new(ticking), ticking), locate()).shared is True
