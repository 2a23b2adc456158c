"""TLS towards the server: verified against the tenant's trust, and named when it is not good."""

from collections.abc import Awaitable, Mapping
from typing import cast

from mitmproxy import connection
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from addons import tls_notes
from addons.aftercare import Aftercare
from addons.carry import conn_of, verified_name
from addons.presenting import Presenting
from addons.tls_session import HandshakeCount
from addons.tolerance import Matrices, Tolerance
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TlsNotes
from appliance.domain.reason import Reason
from appliance.domain.target import normalise_host
from appliance.domain.tls_failure import TlsFailure, plain_error, server_category
from certs.trust import UpstreamTrust, accepted
from certs.verification import Verification, sent_chain


class UpstreamTls:
    """``trusts``: whom each tenant believes. ``matrices``: what passes although it should not be believed.
    ``aftercare``: what is found out right after the handshake."""

    def __init__(
        self,
        trusts: Mapping[TenantId, UpstreamTrust],
        matrices: Matrices,
        presenting: Presenting,
        http2: frozenset[TenantId],
        count: HandshakeCount,
        aftercare: Mapping[TenantId, Aftercare] | None = None,
    ) -> None:
        self._aftercare = aftercare or {}
        self._trusts = trusts
        self._matrices = matrices
        self._presenting = presenting
        self._count = count
        self._http2 = http2

    def tls_start_server(self, data: TlsData) -> None:
        server = cast(connection.Server, data.conn)
        client = data.context.client
        conn = conn_of(client)
        tenant = conn.tenant or TenantId("")
        server.sni = verified_name(client, server) or None
        server.alpn_offers = _offers(client, tenant in self._http2)
        tolerance = self._matrices.tolerance(conn, server, normalise_host(server.sni or ""))
        identity = self._presenting.choose(conn, tolerance.host)
        data.ssl_conn = self._trusts[tenant].connection(tolerance.host, server.alpn_offers, tolerance, identity)
        _verification(data.ssl_conn).refuses_asking = self._presenting.refuses(conn)

    def tls_established_server(self, data: TlsData) -> Awaitable[None] | None:
        """Verified, unless something is left to be found out that takes a look elsewhere."""
        conn = conn_of(data.context.client)
        notes = conn.server_tls = tls_notes.with_server(data)
        self._unanswered(conn, data, notes)
        care = self._aftercare.get(conn.tenant or TenantId(""))
        if care is not None and data.ssl_conn is not None and care.wanted(data.ssl_conn):
            return self._finish(data, data.ssl_conn, notes, care)
        self._established(data, notes)
        return None

    async def _finish(self, data: TlsData, ssl_conn: SSL.Connection, notes: TlsNotes, care: Aftercare) -> None:
        verdict = await care.judge(conn_of(data.context.client), ssl_conn, notes)
        if verdict.reason is Reason.OK:
            self._established(data, notes)
        else:
            data.conn.error = verdict.text  # the layer ends the connection for it, and tells ``tls_failed_server``

    def _established(self, data: TlsData, notes: TlsNotes) -> None:
        notes.verify = "ok"
        if data.ssl_conn is not None and (faults := accepted(data.ssl_conn)):
            _tolerance(data.ssl_conn).note(notes, faults)
        server = cast(connection.Server, data.conn)
        self._count("server", Reason.OK, (server.timestamp_tls_setup or 0.0) - (server.timestamp_tcp_setup or 0.0))

    def tls_failed_server(self, data: TlsData) -> None:
        """Name the cause, where the request that follows finds it: in the connection's error."""
        conn = conn_of(data.context.client)
        notes = conn.server_tls = tls_notes.with_server(data)
        reason, detail = self._cause(conn, data, notes)
        notes.verify = notes.error = f"{reason.word}: {detail}"
        data.conn.error = notes.error
        self._count("server", reason, 0.0)

    def _unanswered(self, conn: ConnNotes, data: TlsData, notes: TlsNotes) -> None:
        """A server may have asked for a certificate that there is none for."""
        if notes.asked_certificate and data.ssl_conn is not None and not _verification(data.ssl_conn).identity:
            self._presenting.noticed(conn, _verification(data.ssl_conn).host)

    def _cause(self, conn: ConnNotes, data: TlsData, notes: TlsNotes) -> tuple[Reason, str]:
        error = data.conn.error or "handshake failed"
        notes.error = plain_error(error)
        if data.ssl_conn is None:
            return Reason.UPSTREAM_TLS_FAILED, notes.error
        verdict = self._trusts[conn.tenant or TenantId("")].verdict(data.ssl_conn, error)
        tls_notes.describe_chain(notes, sent_chain(data.ssl_conn))
        _tolerance(data.ssl_conn).refused(notes, verdict)
        if server_category(notes) is TlsFailure.MTLS:
            self._unanswered(conn, data, notes)
            return Reason.UPSTREAM_CLIENT_CERT, notes.error
        return verdict.reason, plain_error(verdict.detail)


def _offers(client: connection.Client, http2: bool) -> list[bytes]:
    """What the client offered, of what we speak; a client without ALPN gets HTTP/1.1 end to end."""
    offered = [name for name in client.alpn_offers if name == b"http/1.1" or (http2 and name == b"h2")]
    if client.alpn and client.alpn in offered:
        # The client's side is settled already (lazy connections). HTTP/2 is translated for a server that has none;
        # offered nothing else, it would refuse the handshake (RFC 7301 section 3.2).
        return [b"h2", b"http/1.1"] if client.alpn == b"h2" else [client.alpn]
    return offered or [b"http/1.1"]


def _verification(ssl_conn: SSL.Connection) -> Verification:
    return cast(Verification, ssl_conn.get_app_data())


def _tolerance(ssl_conn: SSL.Connection) -> Tolerance:
    return cast(Tolerance, ssl_conn.get_app_data().tolerates)
