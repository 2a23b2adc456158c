"""Ends that no hook of a flow sees: a hook that failed, and a connection that is over (``engine.handler.Ending``)."""

from mitmproxy.http import HTTPFlow

from addons.blame import client_tls_reason
from addons.carry import Pages, answer, attach, conn_of, known_task
from addons.finish import Finish
from addons.trusting import Trusting
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason

_ORDINARY_ENDS = frozenset({Reason.CLIENT_CLOSED, Reason.IDLE_TIMEOUT, Reason.SHUTTING_DOWN})
"""How connections that have served requests end every day; a record of each would say nothing."""


class Ends:
    """``trusting``: the clients that have accepted our certificates."""

    def __init__(self, finish: Finish, page: Pages, trusting: Trusting) -> None:
        self._finish = finish
        self._page = page
        self._trusting = trusting

    def flow_failed(self, flow: HTTPFlow, reason: Reason, detail: str, hook: str) -> None:
        """A hook failed. What has not been released is replaced by a page, or killed."""
        notes = known_task(flow) or _nameless(flow)
        notes.reason, notes.detail = reason, detail
        streaming = flow.response is not None and bool(flow.response.stream)
        if streaming or hook == "error":
            flow.kill() if flow.killable else None
        else:
            answer(flow, self._page(notes, flow.request.headers.get("accept", "")), notes)
        if hook in ("response", "error"):
            self._finish.flow(flow, notes)

    def flow_blamed(self, flow: HTTPFlow, reason: Reason) -> None:
        notes = known_task(flow)
        if notes is not None:
            notes.fail(reason)

    def connection_ended(self, conn: ConnNotes, live: list[HTTPFlow], reason: Reason, detail: str, *, served: bool) -> None:
        for flow in live:
            notes = known_task(flow)
            if notes is not None and not notes.recorded:
                notes.fail(reason, detail)
                self._finish.flow(flow, notes)
        if not served or (not live and reason not in _ORDINARY_ENDS):
            self._no_request(conn, reason, detail)

    def _no_request(self, conn: ConnNotes, reason: Reason, detail: str) -> None:
        """A connection that ended before its first request, or was cut between two: no flow tells of it."""
        notes = TaskNotes(
            conn, kind="connection", started=conn.started, target=conn.tunnel, scheme="https" if conn.hello else ""
        )
        notes.escape = conn.escape
        if conn.client_tls is not None and conn.client_tls.error and reason is Reason.CLIENT_CLOSED:
            reason, detail = client_tls_reason(conn.client_tls.error), conn.client_tls.error
            conn.client_tls.client_trusts = self._trusting.knows(conn)
        denied = conn.tunnel_decision
        if denied is not None and not denied.allowed:
            # what ended it is the decision; that the page was not seen is worth a word beside it
            notes.decision = denied
            reason, detail = denied.reason, f"{denied.message or 'no page was shown'}: {reason.word}"
        notes.fail(reason, detail)
        conn.requests += 1
        self._finish.task(notes)


def _nameless(flow: HTTPFlow) -> TaskNotes:
    """The notes of a flow whose identification failed: what is recorded is that it was stopped."""
    conn = conn_of(flow.client_conn)
    conn.requests += 1
    notes = TaskNotes(conn, started=flow.timestamp_start, method=flow.request.method, path=flow.request.path)
    attach(flow, notes)
    return notes
