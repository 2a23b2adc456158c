"""Requests of the pages of downloads, and for their files: answered here, and never dialled (``appliance.patience``)."""

import os
from collections.abc import Awaitable, Mapping
from typing import Protocol

from mitmproxy.http import HTTPFlow

from addons.carry import Pages, answer, mark_ours, task_of
from addons.fetching import Fetching
from addons.waiting import asking_of, made
from appliance.domain.errors import PolicyError
from appliance.domain.notes import TaskNotes
from appliance.engine.apart import DELIVERY
from appliance.patience.desk import FILE, Delivery
from appliance.patience.ticket import Asking
from appliance.patience.view import Page

_FETCHING = "arcus.fetching"


class Desk(Protocol):
    """See ``appliance.patience.desk``."""

    def serves(self, tenant: str, path: str) -> bool: ...
    async def page(self, token: str, asking: Asking, accept: str) -> Page: ...
    async def file(
        self, token: str, asking: Asking, method: str, fields: Mapping[str, str], accept: str
    ) -> Delivery | Page: ...


class Patience:
    """After ``access``: who may not go to the site any more gets no file of it either.

    A page of a download, and its delivery, are no tasks of their own: the download has one record. What is refused has one."""

    def __init__(self, desk: Desk, page: Pages) -> None:
        self._desk = desk
        self._page = page

    def requestheaders(self, flow: HTTPFlow) -> Awaitable[None] | None:
        if flow.response is not None:
            return None
        notes = task_of(flow)
        path, _, query = flow.request.path.partition("?")
        if notes.portal or not self._desk.serves(notes.conn.tenant or "", path):
            return None
        notes.path = path  # the ticket is a secret of its client
        return self._answer(flow, notes, path, query.removeprefix("ticket="))

    async def response(self, flow: HTTPFlow) -> None:
        fetching: Fetching | None = flow.metadata.get(_FETCHING)
        if fetching is not None:
            await fetching.finished()

    async def _answer(self, flow: HTTPFlow, notes: TaskNotes, path: str, token: str) -> None:
        accept, method = flow.request.headers.get("accept", ""), flow.request.method
        try:
            asking = asking_of(flow, notes)
            if method not in ("GET", "HEAD"):
                answer(flow, Page(405, (("Allow", "GET, HEAD"), ("Cache-Control", "no-store")), b""), notes)
                return
            fields = {name: flow.request.headers.get(name, "") for name in ("range", "if-range")}
            found = (
                await self._desk.file(token, asking, method, fields, accept)
                if path == FILE
                else await self._desk.page(token, asking, accept)
            )
        except PolicyError as error:
            notes.fail(error.reason, error.detail)
            answer(flow, self._page(notes, accept), notes)
            return
        notes.recorded = True
        if isinstance(found, Page):
            shown = Page(found.status, found.headers, b"" if method == "HEAD" else found.body)
            answer(flow, shown, notes)
        elif method == "HEAD":
            os.close(found.file.descriptor)
            found.line.close()
            answer(flow, Page(found.status, found.headers, b""), notes)
            _announce(flow, found)
        else:
            _deliver(flow, found)


def _deliver(flow: HTTPFlow, delivery: Delivery) -> None:
    flow.response = made(Page(delivery.status, delivery.headers, b""), flow)
    flow.response.data.content = None  # the engine sends it from the file
    _announce(flow, delivery)
    flow.request.stream = False
    mark_ours(flow)
    fetching = Fetching(delivery)
    flow.metadata[DELIVERY] = flow.metadata[_FETCHING] = fetching


def _announce(flow: HTTPFlow, delivery: Delivery) -> None:
    """The length of what follows, or would follow a GET; mitmproxy has put in that of the content in hand."""
    if flow.response is not None:
        flow.response.headers["content-length"] = str(delivery.end - delivery.start)
