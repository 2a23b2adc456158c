"""Pages and JSON. Errors are either, by what the client asked for, and say what to do."""

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from appliance.portal.pages import day
from appliance.telemetry.health import Health, notices
from appliance.web import show

STATE_KEY = "arcus.signed_in"


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that is an error. ``advice``: what to do about it."""

    status: int
    title: str
    advice: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Answers:
    """Everything that goes into a page goes through a template that escapes it."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health
        self._templates = Environment(
            loader=ChoiceLoader(
                [PackageLoader("appliance.web"), PrefixLoader({"portal": PackageLoader("appliance.portal")})]
            ),
            autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._templates.filters.update(show.FILTERS)
        self._templates.filters["day"] = day

    async def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """A page with its frame: navigation, and a banner when health is not ok."""
        health = await asyncio.to_thread(self._health)
        frame = {"path": request.url.path, "signed_in": bool(request.scope.get(STATE_KEY)), "notices": notices(health)}
        text = self._templates.get_template(template).render(frame | {"health": health.state.value} | values)
        # a lone surrogate, as JSON can bring one, is no UTF-8
        return Response(text.encode("utf-8", "replace"), status, media_type="text/html")

    async def fault(self, request: Request, fault: Fault) -> Response:
        """An error, as JSON for programs and as a page for browsers."""
        if wants_json(request):
            return json_response({"error": fault.title, "advice": fault.advice}, fault.status, fault.headers)
        response = await self.page(request, "error.html", fault.status, fault=fault)
        response.headers.update(fault.headers)
        return response


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII: whatever an event holds can be written."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), allow_nan=False)
    return Response(text, status, dict(headers or {}), "application/json")


def _finite(value: object) -> object:
    """JSON has no infinity."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def wants_json(request: Request) -> bool:
    """Programs get JSON: by the path, or because they do not ask for HTML."""
    path = request.url.path
    return path.endswith(".json") or path.startswith("/api/") or "text/html" not in request.headers.get("accept", "")
