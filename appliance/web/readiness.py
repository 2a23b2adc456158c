"""While a tenant's CA is being replaced: which of its clients accept the next one. A page with a JSON twin."""

import asyncio
from dataclasses import asdict

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from appliance.domain.readiness import MEANING, Readiness
from appliance.web.answers import Answers, json_response
from appliance.web.services import Services, TenantCard

MAX_SHOWN = 500
"""Clients on the page; the JSON has them all."""


class ReadinessPages:
    def __init__(self, services: Services, answers: Answers) -> None:
        self._tenants = services.tenants
        self._report = services.readiness
        self._answers = answers

    async def page(self, request: Request) -> Response:
        tenant, found = await self._found(request)
        own = found.of(tenant.tenant_id) if found is not None else None
        return await self._answers.page(
            request, "readiness.html", tenant=tenant, found=found, own=own, meaning=MEANING, most=MAX_SHOWN
        )  # fmt: skip

    async def json(self, request: Request) -> Response:
        tenant, found = await self._found(request)
        return json_response(_as_dict(tenant, found))

    async def _found(self, request: Request) -> tuple[TenantCard, Readiness | None]:
        tenant = self._tenants.get(request.path_params["tenant_id"])
        if tenant is None:
            raise HTTPException(404, "There is no such tenant")
        return tenant, await asyncio.to_thread(self._report, tenant.ca.name) if tenant.ca is not None else None


def _as_dict(tenant: TenantCard, found: Readiness | None) -> dict[str, object]:
    """``ca_ready`` and ``ca_clients`` are those of every tenant that shares the CA: it is switched for all of them."""
    told: dict[str, object] = {"tenant_id": tenant.tenant_id, "ca": tenant.ca.name if tenant.ca else None}
    if found is None:
        return told | {"rotating": False}
    own = found.of(tenant.tenant_id)
    counts = {"ready": own.ready, "clients": len(own.clients), "ca_ready": found.ready, "ca_clients": len(found.clients)}
    return told | {"rotating": True} | counts | {"details": [asdict(client) for client in own.clients]}
