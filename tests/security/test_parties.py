"""Connections that several share: nothing chosen for one is used for another."""

import pytest

from appliance.config.server import Limits
from appliance.domain.facts import ClientFacts, UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from appliance.engine.clienthello import Progress, parse_client_hello
from appliance.engine.http.head import read_head
from appliance.engine.lanes import field
from appliance.engine.server_connection import party_of
from tests.e2e.sockets import hello


def conn(tenant: str, user: str = "") -> ConnNotes:
    notes = ConnNotes(ClientFacts("192.0.2.1", 1, "explicit", "192.0.2.2", 2, trusted_peer=True))
    notes.tenant = TenantId(tenant)
    notes.user = UserFacts(user, "people") if user else None
    return notes


@pytest.mark.parametrize("other", [("b", ""), ("a", "alice"), ("b", "alice")])
def test_tenant_and_user_are_the_party(other: tuple[str, str]) -> None:
    assert party_of(conn("a")) == party_of(conn("a"))
    assert party_of(conn("a")) != party_of(conn(*other))


def test_a_tenant_claim_in_front_of_the_trusted_proxys_own_does_not_win() -> None:
    head = read_head(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\nX-Tenant-ID: evil\r\nx-tenant-id: own\r\n\r\n", Limits())
    assert head is not None
    assert field(head, b"x-tenant-id") == "evil, own"


def test_a_hello_in_records_of_one_byte_is_put_together_once() -> None:
    body = hello("a.test")[5:]
    data = b"".join(b"\x16\x03\x01\x00\x01" + body[at : at + 1] for at in range(len(body)))
    progress, found = Progress(), None
    for size in range(1, len(data) + 1):
        before = progress.pos
        found = parse_client_hello(data[:size], 16_384, progress)
        assert progress.pos - before in (0, 6), "what was read is not read again"
    assert found is not None
    assert found.sni == "a.test"
    assert found == parse_client_hello(data, 16_384)
