"""What the strict HTTP layer tells the engine: messages refused before a flow exists, and the bytes of error answers."""

from mitmproxy.connection import Server

from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason, reason_of
from appliance.engine.http.observer import Parent
from appliance.engine.replies import assemble
from appliance.engine.session import Session


class Observer:
    """One per HTTP layer."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_violation(self, reason: Reason, detail: str) -> None:
        """A message was refused, or a limit was reached: one record, one count."""
        session = self._session
        if session.conn.tenant is None:
            session.engine.gate.identify(session.conn)
        notes = session.task("connection", session.conn.tunnel, "http")
        notes.status = reason.status
        session.finish(notes, reason, detail)

    def error_response(self, status: int, message: str) -> bytes:
        """The whole HTTP/1.1 answer for a failed request: the flow's own page when its failure is known."""
        session = self._session
        failed, accept = session.conn.failed, session.conn.failed_accept
        session.conn.failed, session.conn.failed_accept = None, ""
        notes = failed or _unknown(session, status, message)
        page = session.engine.page(notes, accept)
        return assemble(page.status, page.headers, page.body, close=True)

    def own_host(self, host: str) -> str:
        """The portal's name, when a listener that was asked like a web server is one for this host."""
        portal = self._session.engine.gate.portal
        return portal.name if portal.direct(host, self._session.conn.client.listen_ip) else ""

    def leaving(self) -> bool:
        """Another worker has taken this one's place."""
        return self._session.engine.leaving()

    def parent_of(self, server: Server) -> Parent | None:
        """The HTTP parent that this connection leads to, when requests on it are sent in absolute form."""
        auth = getattr(server, "arcus_parent_auth", None)
        return None if auth is None else Parent(auth or None)


def _unknown(session: Session, status: int, message: str) -> TaskNotes:
    notes = session.task("request", session.conn.tunnel)
    notes.fail(reason_of(message) or (Reason.UPSTREAM_PROTOCOL if status >= 500 else Reason.BAD_REQUEST), message)
    return notes
