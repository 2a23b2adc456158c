"""Whose request is it: the notes of each flow, the tenant, and the user of explicit plain HTTP."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from mitmproxy.http import HTTPFlow

from addons.carry import Pages, answer, attach, claimed_host, conn_of
from appliance.domain.facts import UserFacts
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, normalise_host


class Identity(Protocol):
    """See ``appliance.engine.gate``."""

    def identify(self, conn: ConnNotes, claimed: str = "", names: Sequence[str] = ()) -> Reason: ...
    def group(self, conn: ConnNotes) -> str | None: ...
    def escaper(self, conn: ConnNotes) -> str: ...
    def authenticate(self, conn: ConnNotes, header: str | None) -> Awaitable[tuple[UserFacts | None, Reason, str]]: ...


def _never(_notes: TaskNotes, _host: str) -> bool:
    return False


class Identify:
    """Inside a tunnel the tunnel's tenant and user hold; an explicit request is judged by itself, every time."""

    def __init__(
        self, identity: Identity, page: Pages, full: Callable[[], bool], ours: Callable[[TaskNotes, str], bool] = _never
    ) -> None:
        """``full``: whether the audit spool has no room, in which case new tasks are refused rather than passed unrecorded.

        ``ours``: whether a request is for the portal, by its notes and the Host field's host. It needs no user, nor a tenant.
        """
        self._ours = ours
        self._identity = identity
        self._full = full
        self._page = page

    def requestheaders(self, flow: HTTPFlow) -> Awaitable[None] | None:
        conn = conn_of(flow.client_conn)
        notes = _notes(flow, conn)
        attach(flow, notes)
        notes.portal = self._ours(notes, claimed_host(flow))
        pending = None
        if self._full():
            self._refuse(flow, notes, Reason.RESOURCE_EXHAUSTED, "audit spool")
        elif conn.tunnel is None:
            pending = self._explicit(flow, conn, notes)
        notes.escaper = self._identity.escaper(conn)
        return pending

    def _explicit(self, flow: HTTPFlow, conn: ConnNotes, notes: TaskNotes) -> Awaitable[None] | None:
        claimed = flow.request.headers.get("x-tenant-id", "")
        reason = self._identity.identify(conn, claimed, (notes.target.host,) if notes.target else ())
        if notes.portal and reason in (Reason.OK, Reason.NO_TENANT):
            return None  # whoever has to sign in, or is not known, is told there how to go on
        if reason is not Reason.OK:
            self._refuse(flow, notes, reason, "")
        elif self._identity.group(conn) is not None:
            return self._authenticate(flow, conn, notes)
        return None

    async def _authenticate(self, flow: HTTPFlow, conn: ConnNotes, notes: TaskNotes) -> None:
        header = flow.request.headers.get("proxy-authorization")
        conn.user, reason, detail = await self._identity.authenticate(conn, header)
        if reason is not Reason.OK:
            self._refuse(flow, notes, reason, detail)

    def _refuse(self, flow: HTTPFlow, notes: TaskNotes, reason: Reason, detail: str) -> None:
        notes.fail(reason, detail)
        answer(flow, self._page(notes, flow.request.headers.get("accept", "")), notes)


def _notes(flow: HTTPFlow, conn: ConnNotes) -> TaskNotes:
    request = flow.request
    headers = {name.lower(): value for name, value in request.headers.fields}
    conn.requests += 1
    return TaskNotes(
        conn,
        started=request.timestamp_start or time.time(),
        stage="identified",
        target=_target(flow),
        scheme=request.scheme,
        method=request.method,
        path=request.path,
        http_version=request.http_version,
        user_agent=headers.get(b"user-agent", b"").decode("utf-8", "replace"),
        referer=headers.get(b"referer", b"").decode("utf-8", "replace"),
        request_type=headers.get(b"content-type", b"").decode("latin-1"),
    )


def _target(flow: HTTPFlow) -> Target | None:
    try:
        return Target(normalise_host(flow.request.host), flow.request.port)
    except ValueError:
        return None
