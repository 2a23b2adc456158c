"""What a tenant's clients are told to install, for the administrator who does it for them."""

from starlette.requests import Request
from starlette.responses import Response

from appliance.portal import files
from appliance.portal.guides import guides, platform_of
from appliance.portal.pages import cards
from appliance.portal.source import Source
from appliance.web.answers import Answers, Fault
from appliance.web.services import Services

_NONE = Fault(404, "There is no such page", "/tenants lists the tenants that there are.")


class InstallPages:
    def __init__(self, services: Services, answers: Answers) -> None:
        self._homes = services.households
        self._portal = services.portal
        self._answers = answers

    async def page(self, request: Request) -> Response:
        """The portal's page. Its command lines take the file from the current folder: this listener asks for a token."""
        home = self._homes.get(request.path_params["tenant_id"])
        if home is None:
            return await self._answers.fault(request, _NONE)
        return await self._answers.page(
            request,
            "install.html",
            home=home,
            portal=self._portal,
            cards=cards(home.offered(), lambda stem: guides(Source(stem))),
            platform=platform_of(request.headers.get("user-agent", "")),
        )

    async def file(self, request: Request) -> Response:
        """One of the certificate's forms: looked up by its name among those that there are, so no path leads to a file."""
        home = self._homes.get(request.path_params["tenant_id"])
        found = files.find(home, self._portal, request.path_params["file"]) if home is not None else None
        if found is None:
            return await self._answers.fault(request, _NONE)
        return Response(found.body, media_type=found.content_type, headers={"Content-Disposition": found.disposition})
