"""CAs to be offered, and a portal for two tenants."""

from typing import Any

from appliance.app.portal import anchor
from appliance.config.portal import Pac
from appliance.domain.ids import TenantId
from appliance.domain.target import Target
from appliance.portal.anchor import Anchor
from appliance.portal.files import Household
from appliance.portal.names import PortalNames
from appliance.portal.routes import Route
from appliance.portal.site import Site
from appliance.portal.visit import Answer, Via, Visit
from certs.authority import Authority

NAME = "arcus.internal"
A, B = TenantId("a"), TenantId("b")
LISTENER = Target("192.0.2.1", 3128)


def offered(*authorities: Authority) -> tuple[Anchor, ...]:
    return tuple(anchor(each.public) for each in authorities)


def site(
    a: tuple[Anchor, ...], b: tuple[Anchor, ...] = (), *, pac: dict[str, Any] | None = None, mounted: tuple[Route, ...] = ()
) -> Site:
    settings = Pac.model_validate(pac or {})
    homes = {
        A: Household(A, "Tenant <A>", lambda: a, settings, "desk@a.test"),
        B: Household(B, "Tenant B", lambda: b, settings),
    }
    return Site(PortalNames(NAME), homes, frozenset({"secure"}), mounted)


def visit(path: str = "/", tenant: TenantId | None = A, **fields: Any) -> Visit:
    fields = {"method": "GET", "host": NAME, "listener": LISTENER, "server": "explicit", "client_ip": "10.0.0.7"} | fields
    return Visit(path=path, tenant=tenant, **fields)


def ask(portal: Site, path: str = "/", tenant: TenantId | None = A, **fields: Any) -> Answer:
    found = portal.answer(visit(path, tenant, **fields))
    assert isinstance(found, Answer)
    return found


def header(answer: Answer, name: str) -> str:
    return {key.lower(): value for key, value in answer.headers}.get(name.lower(), "")


VIAS = tuple(Via)
