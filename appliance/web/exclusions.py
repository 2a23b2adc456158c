"""Exclusions: what was learned, on what evidence, and who decided. Pages with JSON twins; every decision is recorded."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.domain.act import Actor, Via
from appliance.domain.exclusion import State
from appliance.domain.learning import Entry, ExclusionError, Record
from appliance.web.answers import Answers, Fault, json_response, wants_json
from appliance.web.forms import sent_fields
from appliance.web.show import path_segment
from appliance.web.signin import address_of

DAY = timedelta(days=1).total_seconds()
_NO_DAYS = Fault(422, "that is no number of days", "Write a whole number.")


class ExclusionDesk(Protocol):
    """See ``appliance.learning.desk``. All of these may block, and raise ExclusionError."""

    def records(self, tenant: str | None = None) -> list[Record]: ...
    def get(self, exclusion_id: str, tenant: str | None = None) -> Record: ...
    def history(self, exclusion_id: str) -> list[Entry]: ...
    def against(self, record: Record) -> tuple[str, ...]: ...
    def approve(self, exclusion_id: str, actor: Actor, why: str = "") -> Record: ...
    def reject(self, exclusion_id: str, actor: Actor, why: str = "") -> Record: ...
    def remove(self, exclusion_id: str, actor: Actor, why: str = "") -> Record: ...
    def extend(self, exclusion_id: str, actor: Actor, why: str = "", *, ttl: float = 0.0) -> Record: ...
    def add(self, tenant: str, host: str, reason: str, actor: Actor, fingerprint: str = "", ttl: float = 0.0) -> Record: ...


class ExclusionPages:
    def __init__(self, desk: ExclusionDesk, answers: Answers) -> None:
        self._desk = desk
        self._answers = answers

    async def list_page(self, request: Request) -> Response:
        records = await asyncio.to_thread(self._desk.records, request.query_params.get("tenant") or None)
        groups = [(state.value, [each for each in records if each.state is state]) for state in State]
        return await self._answers.page(request, "exclusions.html", groups=[group for group in groups if group[1]])

    async def list_json(self, request: Request) -> Response:
        records = await asyncio.to_thread(self._desk.records, request.query_params.get("tenant") or None)
        return json_response({"exclusions": [as_dict(each) for each in records]})

    async def one_page(self, request: Request) -> Response:
        record, history, against = await self._found(request)
        return await self._answers.page(request, "exclusion.html", record=record, history=history, against=against)

    async def one_json(self, request: Request) -> Response:
        record, history, against = await self._found(request)
        more = {"history": [_step(entry) for entry in history], "against": list(against)}
        return json_response(as_dict(record) | more)

    async def decide(self, request: Request) -> Response:
        """POST ``/{id}/approve``, ``reject``, ``remove`` or ``extend``; if wanted ``reason``, and ``days`` to extend by."""
        steps: dict[str, Callable[[str, Actor, str], Record]] = {
            "approve": self._desk.approve, "reject": self._desk.reject, "remove": self._desk.remove,
        }  # fmt: skip
        action = request.path_params["action"]
        if action not in steps and action != "extend":
            raise HTTPException(404, "There is no such step")
        fields = await sent_fields(request)
        seconds, why = _seconds(fields), fields.get("reason", "").strip()
        if seconds is None:
            return await self._answers.fault(request, _NO_DAYS)
        step = steps.get(action) or partial(self._desk.extend, ttl=seconds)
        return await self._done(request, lambda: step(request.path_params["id"], _actor(request), why))

    async def add(self, request: Request) -> Response:
        """POST ``tenant``, ``host``, ``reason``, and if wanted ``fingerprint`` and ``days``."""
        fields = await sent_fields(request)
        seconds = _seconds(fields)
        if seconds is None:
            return await self._answers.fault(request, _NO_DAYS)
        tenant, host, reason, ja4 = (fields.get(name, "").strip() for name in ("tenant", "host", "reason", "fingerprint"))
        return await self._done(request, lambda: self._desk.add(tenant, host, reason, _actor(request), ja4, seconds))

    async def _done(self, request: Request, step: Callable[[], Record]) -> Response:
        try:
            record = await asyncio.to_thread(step)
        except ExclusionError as error:
            return await self._answers.fault(request, Fault(409, str(error), error.hint))
        if wants_json(request):
            return json_response(as_dict(record))
        return RedirectResponse(f"/exclusions/{path_segment(record.id)}", 303)

    async def _found(self, request: Request) -> tuple[Record, list[Entry], tuple[str, ...]]:
        try:
            record = await asyncio.to_thread(self._desk.get, request.path_params["id"])
        except ExclusionError as error:
            raise HTTPException(404, str(error)) from None
        history = await asyncio.to_thread(self._desk.history, record.id)
        return record, history, await asyncio.to_thread(self._desk.against, record)


def as_dict(record: Record) -> dict[str, object]:
    """For JSON."""
    key = record.key
    known = {"id": record.id, "tenant": key.tenant, "host": key.host, "fingerprint": key.fingerprint, "kind": key.kind.value}
    decided = {"state": record.state.value, "reason": record.reason, "retest": record.retest, "created_at": record.created_at}
    last = {"decided_at": record.decided_at, "decided_by": record.decided_by, "until": record.until}
    return known | decided | last | {"evidence": asdict(record.evidence)}


def _step(entry: Entry) -> dict[str, object]:
    who = {"actor": str(entry.actor), "by": entry.actor.name, "via": entry.actor.via.value, "source_ip": entry.actor.address}
    what = {"action": entry.action, "note": entry.note, "until": entry.until, "event_id": entry.event_id}
    return {"exclusion_id": entry.exclusion_id, "at": entry.at} | who | what


def _seconds(fields: Mapping[str, str]) -> float | None:
    """0 without a number of days; None for what is no number."""
    days = fields.get("days", "").strip() or "0"
    return int(days[:6]) * DAY if days.isascii() and days.isdigit() else None


def _actor(request: Request) -> Actor:
    return Actor("admin", Via.WEB, address_of(request))
