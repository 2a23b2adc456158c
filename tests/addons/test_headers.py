"""Fields that stay here."""

import pytest

from addons.carry import mark_ours
from addons.headers import Headers
from tests.addons.flows import A, answered, flow, task

OURS = {"X-Tenant-ID": "a", "Proxy-Authorization": "Basic eDp5", "proxy-connection": "close", "X-Kept": "1"}


@pytest.mark.security
def test_what_is_for_us_is_not_forwarded() -> None:
    made = flow(headers=OURS)
    Headers({}).request(made)
    assert [name for name, _ in made.request.headers.fields] == [b"X-Kept"]


@pytest.mark.security
@pytest.mark.parametrize("streams", [True, False])
def test_a_streamed_request_loses_them_before_it_leaves(streams: bool) -> None:
    made = flow(headers=OURS)
    made.request.stream = streams
    Headers({}).requestheaders(made)
    assert ("proxy-authorization" in made.request.headers) is not streams


def test_every_occurrence_goes_and_the_order_of_the_rest_stays() -> None:
    made = flow()
    made.request.headers.fields = ((b"B", b"1"), (b"x-TENANT-id", b"a"), (b"A", b"2"), (b"X-Tenant-Id", b"b"), (b"B", b"3"))
    Headers({}).request(made)
    assert made.request.headers.fields == ((b"B", b"1"), (b"A", b"2"), (b"B", b"3"))


def test_a_way_around_us_is_not_told_to_clients() -> None:
    made = flow()
    response = answered(made, headers={"Alt-Svc": 'h3=":443"', "Proxy-Authenticate": "Basic", "X-Kept": "1"})
    Headers({}).responseheaders(made)
    assert "alt-svc" not in response.headers
    assert "proxy-authenticate" not in response.headers
    assert response.headers["x-kept"] == "1"


def test_our_own_challenge_stays() -> None:
    made = flow()
    response = answered(made, 407, headers={"Proxy-Authenticate": "Basic"})
    mark_ours(made)
    Headers({}).responseheaders(made)
    assert response.headers["proxy-authenticate"] == "Basic"


OFFERED = 'h3=":443"; ma=86400, h2=":80"; ma=60'


@pytest.mark.parametrize(
    ("mode", "told"), [("strip", None), ("clear", "clear"), ("inspected", 'h2=":80"; ma=60'), ("pass", OFFERED)]
)
def test_c13_what_clients_learn_of_alternatives(mode: str, told: str | None) -> None:
    made = flow()
    task(made)
    response = answered(made, headers={"Alt-Svc": OFFERED})
    Headers({A: mode}).responseheaders(made)
    assert response.headers.get("alt-svc") == told


@pytest.mark.parametrize("mode", ["strip", "clear", "inspected", "pass"])
def test_c13_a_server_that_offers_nothing_clears_nothing(mode: str) -> None:
    made = flow()
    task(made)
    response = answered(made)
    Headers({A: mode}).responseheaders(made)
    assert "alt-svc" not in response.headers


def test_c13_a_client_that_uses_an_alternative_is_recorded() -> None:
    made = flow(headers={"Alt-Used": "other.test:443"})
    notes = task(made)
    for _ in range(2):
        Headers({A: "strip"}).request(made)
    assert "alt-used" not in made.request.headers
    assert notes.conn.events == ["alt_used"]
    passed = flow(headers={"Alt-Used": "other.test"})
    task(passed)
    Headers({A: "pass"}).request(passed)
    assert passed.request.headers["alt-used"] == "other.test"
