"""What monitoring asks: health, readiness, metrics. No token, because none of it holds data of a client."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from appliance.telemetry.health import State, notices
from appliance.web.answers import json_response
from appliance.web.services import Services

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class SystemPages:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def health(self, _: Request) -> Response:
        """200 while the appliance works, be it with less than it should have; 503 when it does not."""
        health = await asyncio.to_thread(self._services.health)
        status = 503 if health.state is State.UNHEALTHY else 200
        return json_response(health.as_dict() | {"notices": notices(health)}, status)

    async def ready(self, _: Request) -> Response:
        """200 when every worker takes traffic: a worker's first sign of life comes after its CA is loaded."""
        health = await asyncio.to_thread(self._services.health)
        alive = {name for name, process in health.processes.items() if not process.stale}
        waiting = [name for name in self._services.workers if name not in alive]
        draining = self._services.draining()
        ready = not waiting and not draining
        return json_response({"ready": ready, "draining": draining, "waiting_for": waiting}, 200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        return Response(await asyncio.to_thread(self._services.metrics), media_type=METRICS_TYPE)
