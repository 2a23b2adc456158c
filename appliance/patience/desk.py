"""Where requests for the pages and files of downloads are answered, whichever worker holds them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.config.patience import Patience
from appliance.config.tenant import Tenant
from appliance.domain.byte_range import Unsatisfiable, wanted
from appliance.domain.errors import PolicyError
from appliance.domain.reason import Reason
from appliance.patience.download import Download, Held, Label, Opened, Task
from appliance.patience.page import Frame, lost_page, progress_page
from appliance.patience.shelf import Shelf
from appliance.patience.ticket import Asking, Ticket, Tickets
from appliance.patience.view import Headers, Page, State, View
from appliance.patience.wire import Line, Unreachable

PAGE: Final = "/.well-known/arcus/download"
"""On the site's own origin: there is a certificate for it already, and no other name has to be known to the client."""
FILE: Final = PAGE + "/file"


@dataclass(slots=True)
class Delivery:
    """A file on its way to its client, from ``start`` to before ``end``. It ends with ``finished`` or ``left``."""

    status: int
    headers: Headers
    file: Opened
    start: int
    end: int
    line: Line

    async def finished(self) -> None:
        """All of it has gone out. Raises PolicyError: that could not be recorded."""
        try:
            await self.line.sent(self.start, self.end)
        except Unreachable as error:
            raise PolicyError(Reason.DOWNLOAD_LOST, str(error)) from error

    def left(self, count: int) -> None:
        """The client left, with the first ``count`` octets of it."""
        self.line.leave(self.start, self.start + count)


class Desk:
    """``tenants``: those whose auditors have a patience page. ``owner``: this worker's name on the wire."""

    def __init__(
        self,
        shelf: Shelf,
        tickets: Tickets,
        tenants: Mapping[str, tuple[Tenant, Patience]],
        directory: Path,
        owner: str,
    ) -> None:
        self._shelf, self._tickets, self._tenants = shelf, tickets, dict(tenants)
        self._directory, self._owner = directory, owner

    def serves(self, tenant: str, path: str) -> bool:
        return path in (PAGE, FILE) and tenant in self._tenants

    def config(self, tenant: str) -> Patience | None:
        found = self._tenants.get(tenant)
        return found[1] if found is not None else None

    # -- the beginning -------------------------------------------------------------------------------------------------

    def begin(
        self, asking: Asking, path: str, label: Label, arriving: Held, task: Task, accept: str
    ) -> tuple[Download, Page] | None:
        """A download and its first page. None: there are too many already. ``path``: of the original, with its query."""
        download = self._shelf.begin(asking, label, arriving, task, self._tenants[asking.tenant][1])
        if download is None:
            return None
        token = self._tickets.make(self._owner, download.number, asking, path)
        return download, progress_page(download.look(), self._frame(asking, token, path), accept)

    # -- what its page asks --------------------------------------------------------------------------------------------

    async def page(self, token: str, asking: Asking, accept: str) -> Page:
        """How far it is. Raises PolicyError: the ticket is not this client's."""
        ticket = self._tickets.open(token, asking)
        frame, line = self._frame(asking, token, ticket.back), Line(self._directory, ticket.owner)
        try:
            view = await self._look(line, ticket)
        except Unreachable:
            return lost_page(frame, accept)
        finally:
            line.close()
        return self._shown(view, frame, accept)

    async def file(self, token: str, asking: Asking, method: str, fields: Mapping[str, str], accept: str) -> Delivery | Page:
        """The file, or the page in its place. ``fields``: Range and If-Range, by lower-case name. Raises PolicyError."""
        ticket = self._tickets.open(token, asking)
        frame, line = self._frame(asking, token, ticket.back), Line(self._directory, ticket.owner)
        kept = False
        try:
            found = await self._take(line, ticket)
            if not isinstance(found, Opened):
                return _later(frame) if found and found.state is State.READY else self._shown(found, frame, accept)
            delivery = _delivery(found, line, fields if method == "GET" else {})
            kept = isinstance(delivery, Delivery)
            return delivery
        except Unreachable:
            return lost_page(frame, accept)
        finally:
            if not kept:
                line.close()

    async def _look(self, line: Line, ticket: Ticket) -> View | None:
        if ticket.owner == self._owner:
            download = self._shelf.find(ticket.number)
            return download.look() if download is not None else None
        return await line.look(ticket.number)

    async def _take(self, line: Line, ticket: Ticket) -> Opened | View | None:
        """Over the wire also from this worker: a delivery then ends in one way only."""
        return await line.take(ticket.number)

    def _shown(self, view: View | None, frame: Frame, accept: str) -> Page:
        if view is None:
            return lost_page(frame, accept)
        if view.state is State.STOPPED and view.page is not None:
            return view.page
        return progress_page(view, frame, accept)

    def _frame(self, asking: Asking, token: str, back: str) -> Frame:
        tenant, config = self._tenants[asking.tenant]
        owner = tenant.branding.title or tenant.tenant_name
        local = back if back.startswith("/") and back[1:2] not in ("/", "\\") else "/"  # the link stays on the site
        return Frame(owner, tenant.branding.contact, f"{PAGE}?ticket={token}", f"{FILE}?ticket={token}", local, config.refresh)


def _later(frame: Frame) -> Page:
    """It is on its way to the same client too often already."""
    return Page(503, (("Retry-After", str(frame.refresh)), ("Cache-Control", "no-store")), b"")


def _delivery(found: Opened, line: Line, fields: Mapping[str, str]) -> Delivery | Page:
    base = (*found.headers, ("ETag", found.etag))
    try:
        part = wanted(fields.get("range", ""), fields.get("if-range", ""), (found.etag,), found.size)
    except Unsatisfiable:
        os.close(found.descriptor)
        return Page(416, (("Content-Range", f"bytes */{found.size}"), ("Cache-Control", "no-store")), b"")
    if part is None:
        return Delivery(200, (*base, ("Content-Length", str(found.size))), found, 0, found.size, line)
    start, end = part
    headers = (*base, ("Content-Range", f"bytes {start}-{end - 1}/{found.size}"), ("Content-Length", str(end - start)))
    return Delivery(206, headers, found, start, end, line)
