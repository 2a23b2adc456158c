"""Quarantined bodies: what is known of them; released and deleted with a reason, which is recorded before."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from appliance.domain.act import Actor, Via
from appliance.domain.errors import ArcusError
from appliance.domain.quarantine import Item, QuarantineError
from appliance.web.answers import Answers, Fault, json_response, wants_json
from appliance.web.forms import sent_fields
from appliance.web.signin import address_of

_HARMLESS = {
    # wherever it is opened, no browser runs it as a page of ours
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


class Opened(Protocol):
    @property
    def item(self) -> Item: ...
    def pieces(self) -> Iterator[bytes]: ...


class Quarantine(Protocol):
    """See ``appliance.quarantine.desk``. All of these may block, and raise QuarantineError, OSError and ArcusError."""

    def items(self, tenant: str | None = None) -> list[Item]: ...
    def get(self, tenant: str, item_id: str) -> Item: ...
    def release(self, tenant: str, item_id: str, actor: Actor, reason: str) -> AbstractContextManager[Opened]: ...
    def delete(self, tenant: str, item_id: str, actor: Actor, reason: str) -> Item: ...


class QuarantinePages:
    def __init__(self, desk: Quarantine, answers: Answers) -> None:
        self._desk = desk
        self._answers = answers

    async def list_page(self, request: Request) -> Response:
        return await self._answers.page(request, "quarantine.html", items=await self._items(request))

    async def list_json(self, request: Request) -> Response:
        return json_response({"items": [asdict(item) for item in await self._items(request)]})

    async def one_page(self, request: Request) -> Response:
        return await self._answers.page(request, "quarantined.html", item=await self._found(request))

    async def one_json(self, request: Request) -> Response:
        return json_response(asdict(await self._found(request)))

    async def release(self, request: Request) -> Response:
        """POST ``reason``: the body, as a download."""
        stack, reason = ExitStack(), await _reason(request)

        def enter() -> Opened:
            return stack.enter_context(self._desk.release(*_names(request), _actor(request), reason))

        try:
            opened = await asyncio.to_thread(enter)
        except (ArcusError, OSError) as error:
            return await self._refused(request, error)
        item = opened.item
        named = {"Content-Disposition": f'attachment; filename="{item.id}.quarantined"', "Content-Length": str(item.size)}
        return StreamingResponse(_sent(stack, opened), 200, _HARMLESS | named, "application/octet-stream")

    async def delete(self, request: Request) -> Response:
        """POST ``reason``."""
        reason = await _reason(request)
        try:
            item = await asyncio.to_thread(lambda: self._desk.delete(*_names(request), _actor(request), reason))
        except (ArcusError, OSError) as error:
            return await self._refused(request, error)
        return json_response(asdict(item)) if wants_json(request) else RedirectResponse("/quarantine", 303)

    async def _refused(self, request: Request, error: Exception) -> Response:
        if isinstance(error, QuarantineError):
            return await self._answers.fault(request, Fault(409, str(error), error.hint))
        return await self._answers.fault(request, Fault(503, str(error), "Nothing was done: it could not be recorded."))

    async def _items(self, request: Request) -> list[Item]:
        tenant = request.query_params.get("tenant") or None
        return await self._or_404(lambda: self._desk.items(tenant))

    async def _found(self, request: Request) -> Item:
        return await self._or_404(lambda: self._desk.get(*_names(request)))

    async def _or_404[T](self, ask: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(ask)
        except QuarantineError as error:
            raise HTTPException(404, str(error)) from None


def _sent(stack: ExitStack, opened: Opened) -> Iterator[bytes]:
    with stack:
        yield from opened.pieces()


def _names(request: Request) -> tuple[str, str]:
    return request.path_params["tenant"], request.path_params["id"]


async def _reason(request: Request) -> str:
    return (await sent_fields(request)).get("reason", "").strip()


def _actor(request: Request) -> Actor:
    return Actor("admin", Via.WEB, address_of(request))
