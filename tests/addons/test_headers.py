"""Fields that stay here."""

import pytest

from addons.carry import mark_ours
from addons.headers import Headers
from tests.addons.flows import answered, flow

OURS = {"X-Tenant-ID": "a", "Proxy-Authorization": "Basic eDp5", "proxy-connection": "close", "X-Kept": "1"}


@pytest.mark.security
def test_what_is_for_us_is_not_forwarded() -> None:
    made = flow(headers=OURS)
    Headers().request(made)
    assert [name for name, _ in made.request.headers.fields] == [b"X-Kept"]


@pytest.mark.security
@pytest.mark.parametrize("streams", [True, False])
def test_a_streamed_request_loses_them_before_it_leaves(streams: bool) -> None:
    made = flow(headers=OURS)
    made.request.stream = streams
    Headers().requestheaders(made)
    assert ("proxy-authorization" in made.request.headers) is not streams


def test_every_occurrence_goes_and_the_order_of_the_rest_stays() -> None:
    made = flow()
    made.request.headers.fields = ((b"B", b"1"), (b"x-TENANT-id", b"a"), (b"A", b"2"), (b"X-Tenant-Id", b"b"), (b"B", b"3"))
    Headers().request(made)
    assert made.request.headers.fields == ((b"B", b"1"), (b"A", b"2"), (b"B", b"3"))


def test_a_way_around_us_is_not_told_to_clients() -> None:
    made = flow()
    response = answered(made, headers={"Alt-Svc": 'h3=":443"', "Proxy-Authenticate": "Basic", "X-Kept": "1"})
    Headers().responseheaders(made)
    assert "alt-svc" not in response.headers
    assert "proxy-authenticate" not in response.headers
    assert response.headers["x-kept"] == "1"


def test_our_own_challenge_stays() -> None:
    made = flow()
    response = answered(made, 407, headers={"Proxy-Authenticate": "Basic"})
    mark_ours(made)
    Headers().responseheaders(made)
    assert response.headers["proxy-authenticate"] == "Basic"
