"""The audit pages and their JSON twins."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from appliance.audit.errors import QueryError
from appliance.audit.query.filter import Page
from appliance.domain.reason import Reason
from appliance.web import event as events
from appliance.web.answers import Answers, Fault, json_response
from appliance.web.asking import ACTIONS, RANGES, Asked
from appliance.web.listing import Line
from appliance.web.services import Services

THREADS = 3
WAITING = 32
_STORE_ADVICE = "Ask for a shorter time range; if that does not help, the log of the admin process says what is wrong."
_GONE = Fault(404, "There is no such event", "It may not be stored yet: try again in a second. Or its retention is over.")
_BUSY = Fault(503, "Too many searches at once", "Try again in a few seconds.", {"Retry-After": "5"})


class Busy(Exception):
    """More searches wait than will be answered in time."""


class AuditPages:
    def __init__(self, services: Services, answers: Answers) -> None:
        self._services = services
        self._answers = answers
        # fewer than the store's connections: a slow search never makes a health check wait
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="audit-search")
        self._waiting = 0

    async def list_page(self, request: Request) -> Response:
        asked = Asked.read(request.query_params)
        page, problem, status = Page(), "", 200
        try:
            page = await self._search(asked)
        except QueryError as error:
            problem, status = str(error), 400
        older = asked.link("/audit", page.next) if page.next else ""
        lines = [Line.of(event) for event in page.events]
        return await self._answers.page(
            request, "audit.html", status, asked=asked, lines=lines, problem=problem, older=older, newest=asked.link("/audit"),
            tenants=sorted(self._services.tenants), actions=ACTIONS, ranges=RANGES, reasons=_reasons(),
        )  # fmt: skip

    async def list_json(self, request: Request) -> Response:
        asked = Asked.read(request.query_params)
        try:
            page = await self._search(asked)
        except QueryError as error:
            fault = Fault(400, str(error), "docs/audit.md has the language of queries and the fields.")
            return await self._answers.fault(request, fault)
        chosen = "" if asked.since or asked.until else asked.range
        return json_response({"events": page.events, "next": page.next, "range": chosen})

    async def event_page(self, request: Request) -> Response:
        event = await self._event(request)
        if event is None:
            return await self._answers.fault(request, _GONE)
        return await self._answers.page(
            request, "event.html", line=Line.of(event), sections=events.sections(event), scans=events.scans(event),
            flows=events.flows(event), bars=events.bars(event), raw=json.dumps(event, indent=2, ensure_ascii=False),
        )  # fmt: skip

    async def event_json(self, request: Request) -> Response:
        event = await self._event(request)
        return json_response(event) if event is not None else await self._answers.fault(request, _GONE)

    async def failed(self, request: Request, error: Exception) -> Response:
        """The store cannot answer."""
        if isinstance(error, Busy):
            return await self._answers.fault(request, _BUSY)
        return await self._answers.fault(request, Fault(503, f"The audit store cannot answer: {error}", _STORE_ADVICE))

    async def _search(self, asked: Asked) -> Page:
        return await self._threaded(self._services.audit.list, asked.filter(self._services.clock.now()))

    async def _event(self, request: Request) -> dict[str, Any] | None:
        return await self._threaded(self._services.audit.get, request.path_params["event_id"])

    async def _threaded[T](self, function: Callable[..., T], *arguments: object) -> T:
        if self._waiting >= WAITING:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        finally:
            self._waiting -= 1


def _reasons() -> list[str]:
    return sorted(reason.word for reason in Reason)
