"""TLS-16: the portal's pages on flows: who is let in, and that nothing else is asked."""

from collections.abc import Awaitable
from typing import Any

import pytest
from mitmproxy.http import HTTPFlow

from addons.carry import is_ours, task_of
from addons.identify import Identify
from addons.portal import Portal
from appliance.domain.facts import ClientFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.portal.files import Household
from appliance.portal.names import PortalNames
from appliance.portal.routes import Route
from appliance.portal.site import Site
from appliance.portal.visit import Answer, Visit
from tests.addons.flows import conn, flow, page
from tests.appliance.engine.gates import Place, tenant

NAMES = PortalNames("arcus.internal")
A = TenantId("a")


class Echo:
    """Keeps the visits that it answers with their path and body."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []

    def __call__(self, visit: Visit) -> Answer:
        self.visits.append(visit)
        return Answer(200, (("Content-Type", "text/plain"),), visit.path.encode() + visit.body)

    async def later(self, visit: Visit) -> Answer:
        return self(visit)


def portal(echo: Echo) -> Portal:
    mounted = (Route("/echo", echo), Route("/post", echo, ("POST",), 16), Route("/later", echo.later))
    return Portal(Site(NAMES, {A: Household(A, "A", tuple)}, mounted=mounted))


def asked(made: HTTPFlow) -> Awaitable[None] | None:
    """What ``identify`` says of a flow, for a tenant whose users have to sign in."""
    place = Place([tenant("a", user_group="staff", match={"networks": ["10.0.0.0/8"]})])
    addon = Identify(place.gate(), page, lambda: False, _ours)
    return addon.requestheaders(made)


def _ours(task: TaskNotes, host: str) -> bool:
    return NAMES.request(task.conn, task.target, task.scheme, host, task.path)


def identify(notes: ConnNotes | None = None, url: str = "http://arcus.internal/echo?q", **more: Any) -> HTTPFlow:
    made = flow(url=url, notes=notes or conn(tenant=None), **more)
    assert asked(made) is None
    return made


def test_tls_16_nobody_has_to_sign_in_for_it() -> None:
    made, echo = identify(), Echo()
    assert made.response is None
    assert portal(echo).requestheaders(made) is None
    assert (made.response.content, is_ours(made)) == (b"/echo", True)
    notes = task_of(made)
    assert (notes.decision.rule if notes.decision else "", notes.status, notes.reason) == ("portal", 200, Reason.OK)
    assert (echo.visits[0].tenant, echo.visits[0].query) == ("a", "q")


@pytest.mark.security
async def test_tls_16_every_other_name_still_asks() -> None:
    made = flow(url="http://arcus.internal.evil.test/echo", notes=conn(tenant=None))
    pending = asked(made)
    assert pending is not None
    await pending
    assert portal(echo := Echo()).requestheaders(made) is None
    assert echo.visits == []
    assert task_of(made).reason is Reason.AUTH_REQUIRED


@pytest.mark.security
def test_tls_16_who_has_no_tenant_is_refused_and_recorded_so() -> None:
    stranger = conn(tenant=None, client=ClientFacts("192.0.2.7", 4000, "explicit"))
    made = identify(stranger)
    portal(echo := Echo()).requestheaders(made)
    assert echo.visits == []
    assert (made.response.status_code, task_of(made).reason) == (403, Reason.NO_TENANT)


def test_tls_16_head_has_no_body() -> None:
    made = identify(method="HEAD")
    portal(Echo()).requestheaders(made)
    assert made.response.content == b""


async def test_a_mounted_page_may_wait() -> None:
    made = identify(url="http://arcus.internal/later")
    pending = portal(Echo()).requestheaders(made)
    assert isinstance(pending, Awaitable)
    assert made.response is None
    await pending
    assert made.response.content == b"/later"


def test_a_body_is_there_when_its_page_is_asked() -> None:
    made, echo = identify(url="http://arcus.internal/post", method="POST", body=b"data"), Echo()
    addon = portal(echo)
    addon.requestheaders(made)
    assert echo.visits == []
    assert made.metadata["arcus.limit"] == (16, "block")
    addon.request(made)
    assert made.response.content == b"/postdata"
