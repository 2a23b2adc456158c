"""Our own style sheet, script and icon, read once: a request names one of them, never a path."""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from appliance.web.answers import Answers, Fault

_TYPES = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
_OF_THE_PORTAL = {"portal.css": "text/css", "portal.js": "text/javascript"}
_NONE = Fault(404, "There is no such file", "Start at /audit.")


class StaticFiles:
    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        folder = files("appliance.web").joinpath("static")
        shared = files("appliance.portal").joinpath("static")
        self._files = {name: folder.joinpath(name).read_bytes() for name in _TYPES}
        self._files |= {name: shared.joinpath(name).read_bytes() for name in _OF_THE_PORTAL}
        self._types = _TYPES | _OF_THE_PORTAL

    async def serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            return await self._answers.fault(request, _NONE)
        return Response(self._files[name], media_type=self._types[name], headers={"Cache-Control": "no-cache"})
