"""Tenants, and the certificates that their clients have to trust."""

from starlette.requests import Request
from starlette.responses import Response

from appliance.web.answers import Answers, Fault, json_response
from appliance.web.services import CaCertificate, Services, TenantCard

_NO_CA = Fault(404, "There is no such certificate", "/tenants lists the certificates that there are, as .pem and as .der.")


class TenantPages:
    def __init__(self, services: Services, answers: Answers) -> None:
        self._tenants = services.tenants
        self._answers = answers

    async def list_page(self, request: Request) -> Response:
        return await self._answers.page(request, "tenants.html", tenants=list(self._tenants.values()))

    async def list_json(self, _: Request) -> Response:
        return json_response({"tenants": [_as_dict(tenant) for tenant in self._tenants.values()]})

    async def certificate(self, request: Request) -> Response:
        """``<tenant>.pem`` or ``<tenant>.der``: looked up among what was loaded at start, so no path leads to a file."""
        tenant_id, _, form = request.path_params["file"].rpartition(".")
        tenant = self._tenants.get(tenant_id)
        if tenant is None or tenant.ca is None or form not in ("pem", "der"):
            return await self._answers.fault(request, _NO_CA)
        body, kind = (tenant.ca.pem, "application/x-pem-file") if form == "pem" else (tenant.ca.der, "application/pkix-cert")
        name = f'attachment; filename="arcus-{tenant_id}-ca.{form}"'
        return Response(body, media_type=kind, headers={"Content-Disposition": name})


def _as_dict(tenant: TenantCard) -> dict[str, object]:
    matches: dict[str, object] = {"networks": list(tenant.networks), "names": list(tenant.names)}
    card: dict[str, object] = {"tenant_id": tenant.tenant_id, "tenant_name": tenant.name, "status": tenant.status}
    return card | matches | {"ca": _ca(tenant.ca, tenant.tenant_id) if tenant.ca else None}


def _ca(ca: CaCertificate, tenant_id: str) -> dict[str, object]:
    links = {form: f"/ca/{tenant_id}.{form}" for form in ("pem", "der")}
    return {"name": ca.name, "subject": ca.subject, "sha256": ca.sha256, "not_after": ca.not_after, **links}
