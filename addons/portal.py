"""The appliance's own pages on its fixed name: answered here, and never dialled (see ``appliance.portal``)."""

from collections.abc import Awaitable
from typing import Final

from mitmproxy.http import HTTPFlow

from addons.carry import answer, claimed_host, conn_of, keep_body, keeps_body, task_of
from appliance.domain.decision import PORTAL
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, parse_ip
from appliance.portal.routes import Route
from appliance.portal.site import Site
from appliance.portal.visit import Answer, Via, Visit

_UNTIL_THE_BODY: Final = Answer(503, (("Cache-Control", "no-store"),), b"")
"""Nobody sees it, unless a hook fails in between: then the guard's page takes its place."""


class Portal:
    """After ``identify``, which says whose request it is, and that it is for us; before anything that judges it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def requestheaders(self, flow: HTTPFlow) -> Awaitable[None] | None:
        notes = task_of(flow)
        if not notes.portal or flow.response is not None:
            return None
        notes.decision, notes.stage = PORTAL, "decided"
        visit = _visit(flow, notes)
        route = self._site.route(visit)
        if isinstance(route, Route) and route.max_body and visit.method not in ("GET", "HEAD"):
            keep_body(flow, route.max_body)
            answer(flow, _UNTIL_THE_BODY, notes)
            return None
        return self._answer(flow, notes, visit)

    def request(self, flow: HTTPFlow) -> Awaitable[None] | None:
        return self._answer(flow, task_of(flow), _visit(flow, task_of(flow))) if keeps_body(flow) else None

    def _answer(self, flow: HTTPFlow, notes: TaskNotes, visit: Visit) -> Awaitable[None] | None:
        found = self._site.answer(visit)
        if isinstance(found, Answer):
            _send(flow, notes, found)
            return None
        return _send_when_there(flow, notes, found)


async def _send_when_there(flow: HTTPFlow, notes: TaskNotes, pending: Awaitable[Answer]) -> None:
    _send(flow, notes, await pending)


def _send(flow: HTTPFlow, notes: TaskNotes, found: Answer) -> None:
    if found.refused:
        notes.fail(Reason.NO_TENANT)
    body = b"" if flow.request.method == "HEAD" else found.body
    answer(flow, Answer(found.status, found.headers, body), notes)


def _visit(flow: HTTPFlow, notes: TaskNotes) -> Visit:
    conn, host = notes.conn, claimed_host(flow)
    path, _, query = flow.request.path.partition("?")
    return Visit(
        flow.request.method,
        path,
        conn_of(flow.client_conn).tenant,
        host,
        query,
        flow.request.scheme,
        _via(conn, notes, host),
        Target(conn.client.listen_ip, conn.client.listen_port),
        conn.client.server,
        conn.client.ip,
        notes.user_agent,
        flow.request.raw_content or b"",
    )


def _via(conn: ConnNotes, notes: TaskNotes, host: str) -> Via:
    """A Host that is not the name the request goes to: the listener was asked directly (``engine.http.server1``)."""
    if conn.protocol == "socks5":
        return Via.SOCKS
    if conn.protocol == "tproxy":
        return Via.TRANSPARENT
    asked = host and notes.target is not None and notes.target.host != host and parse_ip(notes.target.host) is None
    return Via.DIRECT if asked and conn.tunnel is None else Via.PROXY
