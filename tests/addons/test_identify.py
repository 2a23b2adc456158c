"""Whose request it is: notes, tenant and user of each flow."""

import base64

import pytest

from addons.carry import is_ours, task_of
from addons.identify import Identify
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from tests.addons.flows import ALICE, conn, flow, page
from tests.appliance.engine.gates import Place, server, tenant

BASIC = "Basic " + base64.b64encode(b"alice:right").decode()


def identify(place: Place, *, full: bool = False) -> Identify:
    return Identify(place.gate(), page, lambda: full)


def test_the_notes_say_what_was_asked() -> None:
    headers = {"User-Agent": "curl/8", "Referer": "http://r/", "Content-Type": "a/b"}
    made = flow("POST", "http://Example.TEST:8080/a%20b?q=1", headers, b"x", conn(tenant=None))
    assert identify(Place([tenant("default", escaper="out")])).requestheaders(made) is None
    notes = task_of(made)
    assert (notes.method, notes.scheme, notes.path, notes.target) == (
        "POST",
        "http",
        "/a%20b?q=1",
        Target("example.test", 8080),
    )
    assert (notes.user_agent, notes.referer, notes.request_type) == ("curl/8", "http://r/", "a/b")
    assert (notes.conn.tenant, notes.escaper, notes.stage, notes.conn.requests) == ("default", "out", "identified", 1)
    assert made.response is None


def test_the_listeners_way_out_is_noted_where_the_tenant_has_none() -> None:
    made = flow(notes=conn(tenant=None))
    identify(Place([tenant("default")], [server(escaper="listener-out")])).requestheaders(made)
    assert task_of(made).escaper == "listener-out"


def test_the_host_names_the_tenant() -> None:
    made = flow(url="http://www.b.test/", notes=conn(tenant=None))
    identify(Place([tenant("b", match={"sni": [".b.test"]}), tenant("default")])).requestheaders(made)
    assert task_of(made).conn.tenant == TenantId("b")


@pytest.mark.parametrize(
    ("status", "known", "reason"), [("suspended", True, "tenant_suspended"), ("active", False, "no_tenant")]
)
def test_a_client_without_a_tenant_gets_a_page(status: str, known: bool, reason: str) -> None:
    networks = ["10.0.0.0/8"] if known else ["192.0.2.0/24"]
    made = flow(notes=conn(tenant=None))
    identify(Place([tenant("a", status=status, match={"networks": networks})])).requestheaders(made)
    assert made.response is not None
    assert (made.response.content, is_ours(made), task_of(made).reason.word) == (reason.encode(), True, reason)


@pytest.mark.parametrize(
    ("header", "reason"), [(None, Reason.AUTH_REQUIRED), ("Basic !", Reason.AUTH_FAILED), (BASIC, Reason.OK)]
)
async def test_every_explicit_request_is_authenticated(header: str | None, reason: Reason) -> None:
    place = Place([tenant("default", user_group="staff")])
    given = conn(tenant=None)
    made = flow(headers={"Proxy-Authorization": header} if header else {}, notes=given)
    pending = identify(place).requestheaders(made)
    assert pending is not None
    await pending
    assert task_of(made).reason is reason
    assert (made.response is None) == (reason is Reason.OK)
    assert given.user == (ALICE if reason is Reason.OK else None)


@pytest.mark.security
async def test_a_user_does_not_stay_for_the_next_request_without_credentials() -> None:
    given = conn(tenant=None)
    addon = identify(Place([tenant("default", user_group="staff")]))
    for header in ({"Proxy-Authorization": BASIC}, {}):
        made = flow(headers=header, notes=given)
        pending = addon.requestheaders(made)
        assert pending is not None
        await pending
    assert given.user is None
    assert made.response is not None
    assert made.response.status_code == 407


def test_inside_a_tunnel_nobody_is_asked_again() -> None:
    given = conn(tenant=TenantId("default"), tunnel=Target("example.test", 443), user=ALICE)
    made = flow(headers={"X-Tenant-ID": "other"}, notes=given)
    assert identify(Place([tenant("default", user_group="staff"), tenant("other")])).requestheaders(made) is None
    assert (made.response, given.user, given.tenant) == (None, ALICE, "default")


def test_no_room_for_a_record_no_new_task() -> None:
    made = flow(notes=conn(tenant=None))
    identify(Place([tenant("default")]), full=True).requestheaders(made)
    assert made.response is not None
    assert (made.response.status_code, task_of(made).reason) == (503, Reason.RESOURCE_EXHAUSTED)


def test_a_host_that_is_none_leaves_no_target() -> None:
    made = flow(notes=conn(tenant=None))
    made.request.host = "not a host"
    identify(Place([tenant("default")])).requestheaders(made)
    assert task_of(made).target is None
