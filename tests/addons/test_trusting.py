"""Which clients have accepted a certificate of ours."""

import pytest

from addons.trusting import REMEMBERED, Trusting
from appliance.domain.clock import ManualClock
from appliance.domain.facts import ClientFacts, HelloFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TaskNotes, TlsNotes


def connection(tenant: str = "a", ip: str = "10.0.0.7", ja4: str = "t13d", error: str = "") -> ConnNotes:
    tls = TlsNotes(version="TLSv1.3", error=error)
    return ConnNotes(ClientFacts(ip, 1, "in"), tenant=TenantId(tenant), hello=HelloFacts(ja4=ja4), client_tls=tls, requests=1)


@pytest.fixture
def trusting() -> Trusting:
    return Trusting(ManualClock(0.0), 3)


def test_a_client_is_known_after_its_first_request(trusting: Trusting) -> None:
    assert not trusting.knows(connection())
    trusting.task(TaskNotes(connection()))
    assert trusting.knows(connection())


@pytest.mark.security
@pytest.mark.parametrize("other", [{"tenant": "b"}, {"ip": "10.0.0.8"}, {"ja4": "t12d"}])
def test_neither_another_tenant_nor_address_nor_program_is_known_by_it(trusting: Trusting, other: dict[str, str]) -> None:
    trusting.task(TaskNotes(connection()))
    assert not trusting.knows(connection(**other))


def test_a_connection_without_a_request_or_with_an_alert_shows_nothing(trusting: Trusting) -> None:
    trusting.task(TaskNotes(connection(), kind="connection"))
    trusting.task(TaskNotes(connection(error="tlsv1 alert unknown ca")))
    assert not trusting.knows(connection())


def test_memory_ends_and_is_bounded() -> None:
    clock = ManualClock(0.0)
    trusting = Trusting(clock, 3)
    for number in range(5):
        trusting.task(TaskNotes(connection(ip=f"10.0.0.{number}")))
    assert len(trusting) == 3
    assert not trusting.knows(connection(ip="10.0.0.1"))
    assert trusting.knows(connection(ip="10.0.0.4"))
    clock.advance(REMEMBERED)
    assert not trusting.knows(connection(ip="10.0.0.4"))
