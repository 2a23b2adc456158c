"""What was delivered and is bad now: a list, a body with its flows, the question who got a file, and a hunt from here."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.domain.act import Actor, Via
from appliance.domain.errors import ArcusError
from appliance.domain.retro import Body, RetroError, Status
from appliance.web.answers import Answers, Fault, json_response, wants_json
from appliance.web.forms import sent_fields
from appliance.web.signin import address_of


class Retro(Protocol):
    """See ``appliance.retro.desk``. All of these may block, and raise RetroError, OSError and ArcusError."""

    def found(self, tenant: str | None = None) -> list[Body]: ...
    def bodies(self, sha256: str, tenant: str | None = None) -> list[Body]: ...
    def hunt(self, hashes: Sequence[str], tenant: str | None = None) -> list[Body]: ...
    def status(self, tenant: str | None = None) -> list[Status]: ...
    def run(self, tenant: str | None, actor: Actor) -> list[Status]: ...


class RetroPages:
    def __init__(self, desk: Retro, tenants: Collection[str], answers: Answers) -> None:
        self._desk = desk
        self._tenants = sorted(tenants)
        self._answers = answers

    async def list_page(self, request: Request) -> Response:
        """Without ``sha256``: all that is bad. With it: who got this file, bad or not."""
        tenant, sha256 = _asked(request)
        try:
            found, status = await asyncio.to_thread(self._list, tenant, sha256)
        except RetroError as error:
            return await self._answers.fault(request, Fault(400, str(error), error.hint))
        return await self._answers.page(
            request, "retro.html", bodies=found, ledgers=status, tenant=tenant or "", sha256=sha256, tenants=self._tenants
        )

    async def list_json(self, request: Request) -> Response:
        tenant, sha256 = _asked(request)
        try:
            found, status = await asyncio.to_thread(self._list, tenant, sha256)
        except RetroError as error:
            return await self._answers.fault(request, Fault(400, str(error), error.hint))
        return json_response({"bodies": [asdict(body) for body in found], "status": [asdict(each) for each in status]})

    async def one_page(self, request: Request) -> Response:
        return await self._answers.page(request, "delivered.html", body=await self._one(request))

    async def one_json(self, request: Request) -> Response:
        return json_response(asdict(await self._one(request)))

    async def run(self, request: Request) -> Response:
        """POST, with ``tenant`` for one only: everything is judged again."""
        tenant = (await sent_fields(request)).get("tenant", "").strip() or None
        actor = Actor("admin", Via.WEB, address_of(request))
        try:
            status = await asyncio.to_thread(self._desk.run, tenant, actor)
        except RetroError as error:
            return await self._answers.fault(request, Fault(409, str(error), error.hint))
        except (ArcusError, OSError) as error:
            return await self._answers.fault(request, Fault(503, str(error), "Nothing was begun: it could not be recorded."))
        return json_response([asdict(each) for each in status]) if wants_json(request) else RedirectResponse("/retro", 303)

    def _list(self, tenant: str | None, sha256: str) -> tuple[list[Body], list[Status]]:
        status = self._desk.status(tenant)
        return (self._desk.hunt([sha256], tenant) if sha256 else self._desk.found(tenant)), status

    async def _one(self, request: Request) -> Body:
        tenant, sha256 = request.path_params["tenant"], request.path_params["sha256"]
        return await self._or_404(lambda: next(iter(self._desk.bodies(sha256, tenant))))

    async def _or_404[T](self, ask: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(ask)
        except RetroError as error:
            raise HTTPException(404, str(error)) from None


def _asked(request: Request) -> tuple[str | None, str]:
    return request.query_params.get("tenant") or None, request.query_params.get("sha256", "").strip()
