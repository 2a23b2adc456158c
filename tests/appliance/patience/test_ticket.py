"""Tickets of downloads: one client, one site, a limited time (C7)."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import PolicyError
from appliance.domain.reason import Reason
from appliance.patience.ticket import LIFE, MAX_BACK, Asking, Tickets

KEY = bytes(range(32))
ALICE = Asking("acme", "192.0.2.7", "alice", "https", "files.test", 443)


def tickets(now: float = 1000.0, key: bytes = KEY) -> Tickets:
    return Tickets(key, lambda: now)


def test_what_was_made_is_read() -> None:
    ticket = tickets().open(tickets().make("owner", "number", ALICE, "/a?b=c"), ALICE)
    assert (ticket.owner, ticket.number, ticket.asking, ticket.back) == ("owner", "number", ALICE, "/a?b=c")


@pytest.mark.security
@pytest.mark.parametrize("field", ["tenant", "client", "user", "scheme", "host"])
def test_it_is_nobody_else_s(field: str) -> None:
    token = tickets().make("owner", "number", ALICE, "/")
    with pytest.raises(PolicyError) as raised:
        tickets().open(token, dataclasses.replace(ALICE, **{field: "other"}))
    assert (raised.value.reason, raised.value.detail) == (Reason.DOWNLOAD_FOREIGN, field)


@pytest.mark.security
def test_another_port_is_another_site() -> None:
    with pytest.raises(PolicyError, match="port"):
        tickets().open(tickets().make("owner", "number", ALICE, "/"), dataclasses.replace(ALICE, port=8443))


@pytest.mark.security
def test_another_appliance_s_and_an_old_one_count_for_nothing() -> None:
    token = tickets().make("owner", "number", ALICE, "/")
    for other in (tickets(key=bytes(32)), tickets(1000.0 + LIFE)):
        with pytest.raises(PolicyError) as raised:
            other.open(token, ALICE)
        assert raised.value.reason is Reason.DOWNLOAD_INVALID
    assert tickets(999.0 + LIFE).open(token, ALICE).number == "number"


@pytest.mark.security
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.hex() + "." + data.hex()))
def test_nothing_made_up_is_a_ticket(token: str) -> None:
    with pytest.raises(PolicyError) as raised:
        tickets().open(token, ALICE)
    assert raised.value.reason is Reason.DOWNLOAD_INVALID


@pytest.mark.security
@given(st.integers(0, 10_000), st.sampled_from("Aa0-_."))
def test_no_character_of_it_can_be_changed(at: int, char: str) -> None:
    token = tickets().make("owner", "number", ALICE, "/x")
    at %= len(token)
    changed = token[:at] + char + token[at + 1 :]
    if changed != token:
        with pytest.raises(PolicyError):
            tickets().open(changed, ALICE)


def test_an_address_that_is_too_long_leads_to_the_site_s_start() -> None:
    at_limit = "/" + "a" * (MAX_BACK - 1)
    assert tickets().open(tickets().make("o", "n", ALICE, at_limit), ALICE).back == at_limit
    assert tickets().open(tickets().make("o", "n", ALICE, at_limit + "a"), ALICE).back == "/"
