"""Which connection to a server may ask for which session, when one is worth keeping, and how many handshakes were resumed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from mitmproxy import connection
from mitmproxy.http import HTTPFlow
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from addons.carry import conn_of
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from certs import upstream_sessions
from certs.upstream_sessions import Known, Place, UpstreamSessions, is_resumed

type Count = Callable[[str, bool], None]
"""Told of each handshake that succeeded: its side, and whether it resumed a session."""


@dataclass(slots=True)
class _Attempt:
    """One connection to a server; it travels on mitmproxy's object for the server."""

    tls: SSL.Connection
    place: Place
    known: Known | None
    """With the session that was offered, later with the one in use."""
    at_first: SSL.Session | None = None
    """The session as the handshake left it."""
    done: bool = False


class Resumption:
    """Runs after ``UpstreamTls``, adding to its connections. ``ages``: seconds a session is kept, for tenants that resume."""

    def __init__(self, sessions: UpstreamSessions, ages: Mapping[TenantId, float], count: Count) -> None:
        self._sessions = sessions
        self._ages = ages
        self._count = count

    def tls_established_client(self, data: TlsData) -> None:
        if data.ssl_conn is not None:
            self._count("client", is_resumed(data.ssl_conn))

    def tls_start_server(self, data: TlsData) -> None:
        server, conn = cast(connection.Server, data.conn), conn_of(data.context.client)
        tls = data.ssl_conn
        if tls is None or conn.tenant not in self._ages or upstream_sessions.presents_certificate(tls):
            return
        place = _place(conn, server)
        known = self._sessions.offer(tls, place)
        server.arcus_attempt = _Attempt(tls, place, known)
        if known is not None:
            server.arcus_shown = known.shown  # see engine.handshake

    def tls_established_server(self, data: TlsData) -> None:
        if data.ssl_conn is None:
            return
        resumed = is_resumed(data.ssl_conn)
        self._count("server", resumed)
        if (attempt := _attempt(cast(connection.Server, data.conn))) is None:
            return
        notes = conn_of(data.context.client).server_tls
        # what passed by a rule's leave asks for it each time, and a chain that was completed is completed each time
        attempt.done = notes is None or notes.verify != "ok" or bool(notes.action) or notes.completed
        if not resumed:
            attempt.known = None
        attempt.at_first = attempt.tls.get_session()
        data.conn.arcus_ended = lambda: upstream_sessions.close_quietly(attempt.tls)  # type: ignore[attr-defined]

    def tls_failed_server(self, data: TlsData) -> None:
        attempt = _attempt(cast(connection.Server, data.conn))
        if attempt is not None:
            self._sessions.forget(attempt.place)

    def responseheaders(self, flow: HTTPFlow) -> None:
        """The first answer: tickets come right before it, and other connections may already wait for one."""
        attempt = _attempt(flow.server_conn)
        if attempt is not None and not attempt.done:
            self._keep(attempt, flow.server_conn)

    def _keep(self, attempt: _Attempt, server: connection.Server) -> None:
        tls = attempt.tls
        if not upstream_sessions.has_ticket(tls, attempt.at_first):
            return  # perhaps with the next answer
        attempt.done, attempt.at_first = True, None
        known = attempt.known or _learnt(tls, server)
        if known is not None:
            self._sessions.keep(tls, attempt.place, known, self._ages[attempt.place.tenant])


def _learnt(tls: SSL.Connection, server: connection.Server) -> Known | None:
    lifetime = upstream_sessions.lifetime_of(tls)
    return Known(lifetime, tuple(server.certificate_list)) if lifetime is not None else None


def _place(conn: ConnNotes, server: connection.Server) -> Place:
    way = conn.escape.path if conn.escape else ()
    host, port = server.address or ("", 0)
    return Place(conn.tenant or TenantId(""), way, (host, port), server.sni or "", tuple(server.alpn_offers))


def _attempt(server: connection.Server) -> _Attempt | None:
    return cast(_Attempt | None, getattr(server, "arcus_attempt", None))
