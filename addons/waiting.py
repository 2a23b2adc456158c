"""Large downloads of browsers: who gets a page with the progress, and what becomes of the body behind it
(``engine.inspection.Waiting``, ``appliance.patience``)."""

import logging
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Final, Protocol

from mitmproxy.http import Headers, HTTPFlow, Response

from addons.carry import Pages, answer, conn_of, is_ours
from addons.parts import wants_part
from addons.streaming import Streamed
from appliance.config.patience import Patience
from appliance.domain.errors import ScanError
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason, reason_of
from appliance.domain.target import normalise_host
from appliance.engine.inspection import Fate
from appliance.patience.download import Download, Held, Label, Task
from appliance.patience.naming import delivered, file_name
from appliance.patience.ticket import Asking
from appliance.patience.view import Page
from appliance.policy.warning import is_navigation

logger = logging.getLogger(__name__)

_PAGES: Final = frozenset(("text/html", "application/xhtml+xml"))
"""What is shown under its own address, and never saved."""

type Record = Callable[[HTTPFlow, TaskNotes], None]
"""Writes the record of a flow; raises where it cannot be written."""


class Desk(Protocol):
    """See ``appliance.patience.desk``."""

    def config(self, tenant: str) -> Patience | None: ...
    def begin(
        self, asking: Asking, path: str, label: Label, arriving: Held, task: Task, accept: str
    ) -> tuple[Download, Page] | None: ...


def asking_of(flow: HTTPFlow, notes: TaskNotes) -> Asking:
    """Who asks for this flow, and under which site's name."""
    conn = conn_of(flow.client_conn)
    try:
        host = normalise_host(flow.request.pretty_host)
    except ValueError:
        host = ""
    user = conn.user.name if conn.user else ""
    return Asking(conn.tenant or "", conn.client.ip, user, flow.request.scheme, host, flow.request.port)


def offers(desk: Desk, page: Pages, record: Record) -> Callable[[Streamed], "Waiting | None"]:
    """For ``addons.adapt``. ``page``: what stands in place of a file that could not be had."""

    def offer(streamed: Streamed) -> Waiting | None:
        config = desk.config(streamed.notes.conn.tenant or "")
        return Waiting(streamed, config, desk, page, record) if config is not None and _fits(streamed) else None

    return offer


def _fits(streamed: Streamed) -> bool:
    """A browser's navigation to something that it will save, and that is to be held as a whole."""
    flow, auditor = streamed.flow, streamed.auditor
    request, response = flow.request, flow.response
    if response is None or response.status_code != 200 or wants_part(flow) or "x-requested-with" in request.headers:
        return False
    length = response.headers.get("content-length", "")
    bounded = auditor.oversize == "block" or (length.isdigit() and int(length) <= auditor.max_scan_size)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return bounded and kind not in _PAGES and is_navigation(request.method, request.headers)


class Waiting:
    """Of one response."""

    def __init__(self, streamed: Streamed, config: Patience, desk: Desk, page: Pages, record: Record) -> None:
        self.after = config.after
        self._streamed, self._desk, self._page, self._record = streamed, desk, page, record
        response = streamed.flow.response
        self._fields = tuple((name, value) for name, value in response.headers.items(multi=True)) if response else ()
        self._download: Download | None = None
        self._cancel: Callable[[], None] = _nothing

    def begin(self, cancel: Callable[[], None]) -> Response | None:
        streamed, flow = self._streamed, self._streamed.flow
        if streamed.judged or flow.response is None:
            return None
        self._cancel = cancel
        length = flow.response.headers.get("content-length", "")
        name = file_name(flow.response.headers.get("content-disposition", ""), flow.request.path)
        label = Label(name, flow.request.pretty_url, int(length) if length.isdigit() else None)
        accept = flow.request.headers.get("accept", "")
        asking = asking_of(flow, streamed.notes)
        begun = self._desk.begin(asking, flow.request.path, label, streamed.body, self, accept)
        if begun is None:
            return None
        self._download, page = begun
        streamed.notes.conn = copy(streamed.notes.conn)  # as it is now: it is over, and cleared, before the download may be
        return made(page, flow)

    async def arriving(self) -> None:
        with suppress(ScanError):  # it will not come as a whole: that is found when it is looked at
            await self._streamed.body.complete()

    def concluded(self, *, whole: bool, why: str) -> None:
        download, streamed = self._download, self._streamed
        if download is None or not download.waits:
            streamed.close()
        elif streamed.judged and streamed.fate is Fate.REPLACE:
            self._replaced(download)
        elif streamed.judged and streamed.fate is Fate.DELIVER and whole:
            if streamed.shown is not streamed.body:
                streamed.shown.close()
            download.ready(streamed.body, delivered(self._fields, download.label.name))
        else:
            self._failed(download, why)

    def _failed(self, download: Download, why: str) -> None:
        streamed = self._streamed
        error = streamed.body.error
        reason = reason_of(why) or (error.reason if error is not None else Reason.INTERNAL_ERROR)
        streamed.notes.fail(reason, why.partition(": ")[2] if reason_of(why) else why)
        accept = streamed.flow.request.headers.get("accept", "")
        answer(streamed.flow, self._page(streamed.notes, accept), streamed.notes)
        self._stopped(download)

    def _replaced(self, download: Download) -> None:
        """By our page, or by what the service made of it."""
        streamed, response = self._streamed, self._streamed.flow.response
        if response is None or is_ours(streamed.flow):
            self._stopped(download)
            return
        body = streamed.replacement
        if body is None:
            body = streamed.body.another()
            with suppress(ScanError):  # no room: what is not whole is not delivered
                body.feed(response.raw_content or b"")
            body.end()
        streamed.replacement = None
        streamed.close()
        if body.ended:
            download.ready(body, delivered(tuple(response.headers.items(multi=True)), download.label.name))
        else:
            self._failed(download, Reason.RESOURCE_EXHAUSTED.word)

    def _stopped(self, download: Download) -> None:
        streamed, response = self._streamed, self._streamed.flow.response
        streamed.close()
        if response is None:
            return
        streamed.notes.status, streamed.notes.stage = response.status_code, "finished"
        try:
            self._record(streamed.flow, streamed.notes)
        except Exception:
            logger.exception("the record of a download could not be written; it is given up, and recorded then")
            return
        headers = tuple((name, value) for name, value in response.headers.items(multi=True) if _is_kept(name))
        download.stopped(streamed.notes.reason, Page(response.status_code, headers, response.raw_content or b""))

    # -- ``appliance.patience.download.Task`` --------------------------------------------------------------------------

    def cancel(self) -> None:
        self._cancel()

    def record(self, reason: Reason, detail: str, sent: int) -> None:
        streamed, notes = self._streamed, self._streamed.notes
        if notes.recorded:
            return
        notes.detail = detail
        if reason is not Reason.OK:
            notes.fail(reason, detail)
        before = notes.response_bytes
        streamed.passed(sent - before)
        notes.status, notes.stage = 200 if sent else 202, "finished"
        self._record(streamed.flow, notes)


def made(page: Page, flow: HTTPFlow) -> Response:
    """A page as the response of a flow."""
    headers = Headers([(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in page.headers])
    response = Response.make(page.status, page.body, headers)
    response.http_version = "HTTP/2.0" if flow.request.is_http2 else "HTTP/1.1"
    return response


def _is_kept(name: str) -> bool:
    return name.lower() not in ("content-length", "transfer-encoding", "connection", "set-cookie")


def _nothing() -> None:
    """Not begun."""
