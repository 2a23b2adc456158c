"""TLS-12: what happens on a connection decides whether anybody goes on with it."""

from typing import Any

import pytest
from mitmproxy.connection import Server
from mitmproxy.tls import TlsData

from addons.carry import mark_ours
from addons.keeping import Keeping
from appliance.domain.reason import Reason
from tests.addons.flows import A, answered, flow, task

pytestmark = pytest.mark.security


def _free(made: Any) -> bool:
    return bool(getattr(made.server_conn, "arcus_free", False))


def _told(*, status: int = 200, asks: dict[str, str] | None = None, says: dict[str, str] | None = None) -> Any:
    made = flow(headers=asks or {})
    task(made)
    answered(made, status, headers=says or {})
    return made


@pytest.mark.parametrize(
    ("told", "free"),
    [
        ({}, True),
        ({"status": 404}, True),
        ({"asks": {"Authorization": "Basic eDp5"}}, True),
        ({"asks": {"authorization": "bearer abc"}}, True),
        ({"asks": {"Authorization": 'Digest username="x"'}}, True),
        ({"asks": {"Authorization": "NTLM TlRMTVNTUAAB"}}, False),
        ({"asks": {"authorization": "negotiate YII"}}, False),
        ({"asks": {"Authorization": "Something new"}}, False),
        ({"asks": {"Authorization": ""}}, False),
        ({"asks": {"Proxy-Authorization": "NTLM TlRMTVNTUAAB"}}, False),
        ({"status": 401}, False),
        ({"status": 407}, False),
        ({"says": {"WWW-Authenticate": "Negotiate oRQw"}}, False),
        ({"says": {"Proxy-Authenticate": "NTLM"}}, False),
        ({"says": {"Persistent-Auth": "true"}}, False),
    ],
)
def test_tls_12_who_signs_in_by_connection_takes_it_along(told: dict[str, Any], free: bool) -> None:
    made = _told(**told)
    Keeping(lambda *_: None).response(made)
    assert _free(made) is free


def test_tls_12_one_bad_exchange_is_enough() -> None:
    keeping, bad, good = Keeping(lambda *_: None), _told(status=401), _told()
    good.server_conn = bad.server_conn
    for made in (bad, good):
        keeping.response(made)
    assert not _free(good)


def test_tls_12_what_was_stopped_replaced_or_failed_leaves_nothing() -> None:
    keeping = Keeping(lambda *_: None)
    stopped, replaced, failed, old = _told(), _told(), _told(), _told()
    task(stopped).fail(Reason.BODY_TOO_LARGE)
    mark_ours(replaced)
    old.response.http_version = "HTTP/1.0"
    keeping.error(failed)
    keeping.response(failed)
    for made in (stopped, replaced, old):
        keeping.response(made)
    assert not any(_free(made) for made in (stopped, replaced, failed, old))


def test_tls_12_a_server_that_is_refused_is_forgotten_with_its_tenant() -> None:
    told: list[tuple[str, tuple[str, int]]] = []
    made = flow()
    task(made)
    context = type("Context", (), {"client": made.client_conn})()
    Keeping(lambda *what: told.append(what)).tls_failed_server(TlsData(Server(address=("o.test", 443)), context))
    assert told == [(A, ("o.test", 443))]
