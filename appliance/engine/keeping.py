"""One client connection and the idle servers: what it takes from them at its beginning, and leaves to them at its end.

Left is the connection that its handshakes began with, or that it took, when nothing is under way on it and nothing that
happened on it speaks against it. ``arcus_free`` on mitmproxy's object is an addon's word that its exchanges do not;
without that word nothing is kept.
"""

import asyncio
import copy
import logging
from dataclasses import replace
from typing import Final, Protocol, cast

from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.server import ConnectionIO

from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, EscapeNotes, TlsNotes
from appliance.engine.idle_servers import Claim, IdleServers, Kept
from appliance.engine.server_connection import party_of
from appliance.engine.tls_side import TlsSide
from certs.upstream_sessions import presents_certificate

logger = logging.getLogger(__name__)

_HTTP1: Final = (b"http/1.1", b"", None)


class Resting(Protocol):
    """What runs on a connection to a server."""

    def at_rest(self, server: Connection) -> TlsSide | None:
        """Its TLS, when no octet and no exchange is under way on it and it may take another request; None otherwise."""


class Keeper:
    """Of one client connection. ``transports`` are its open sides."""

    __slots__ = ("_born", "_conn", "_idle", "_kept", "_left", "_notes", "_server", "_spoilt", "_transports")

    def __init__(self, conn: ConnNotes, idle: IdleServers | None, transports: dict[Connection, ConnectionIO]) -> None:
        self._conn, self._idle, self._transports = conn, idle, transports
        self._kept: Kept | None = None
        self._server: Server | None = None
        self._notes: TlsNotes | None = None
        self._left: Server | None = None
        self._spoilt = False
        self._born = 0.0

    def take(self, client: Client, context: Context) -> TlsSide | None:
        """A connection to where ``context.server`` was to lead; it is in its place then, with what is known of it."""
        if self._idle is None or (claim := self._claim(client, context.server)) is None:
            return None
        kept = self._idle.take(self._conn, claim)
        if kept is None:
            return None
        self._kept = kept
        server = context.server = kept.server
        server.timestamp_start = None  # this connection of the client's has not waited for it
        server.arcus_kept = self._idle.repeated
        server.arcus = self._conn.escape = replace(kept.made, tries=0, reused=True, ms={})
        self._conn.server_tls = copy.copy(kept.notes)
        self._transports[server] = ConnectionIO(reader=kept.reader, writer=kept.writer)
        return TlsSide(server, kept.tls, self._conn, towards_client=False)

    def begun(self, server: Server) -> None:
        """The connection that the handshakes have led to."""
        self._server, self._notes = server, self._conn.server_tls
        if self._idle is not None:
            self._born = self._idle.now

    def spoil(self) -> None:
        """Something went wrong on this client connection: nothing of it is left to another."""
        self._spoilt = True

    def leave(self, client: Client, top: Resting) -> None:
        """The client connection is over, and nothing of it is under way. Never fails: what cannot be kept is closed."""
        try:
            self._leave(client, top)
        except Exception:
            logger.exception("a connection to a server is not kept")

    def _leave(self, client: Client, top: Resting) -> None:
        server = self._server
        if self._idle is None or self._spoilt or server is None or server.state is not ConnectionState.OPEN:
            return
        io = self._transports.get(server)
        if io is None or not self._idle.keeps(self._conn.tenant or TenantId("")):
            return
        side = top.at_rest(server)
        if side is not None and _is_quiet(io) and (kept := self._ready(client, server, side, io)) is not None:
            kept.reading = cast("asyncio.Task[None] | None", io.handler)
            if self._idle.keep(self._conn, kept):
                del self._transports[server]
                self._left = server

    def has_left(self, connection: Connection) -> bool:
        """Whether it is no concern of this client connection any more."""
        return connection is self._left

    def _ready(self, client: Client, server: Server, side: TlsSide, io: ConnectionIO) -> Kept | None:
        """What is kept of it, or None when it must not be; rested since now, unless it has only been taken and left again."""
        if self._kept is None:
            self._kept = self._new(client, server, side, io)
        elif not getattr(server, "arcus_free", False):
            return None
        elif getattr(server, "arcus_kept", None) is None and self._idle is not None:
            self._kept.rested = self._idle.now
        return self._kept

    def _new(self, client: Client, server: Server, side: TlsSide, io: ConnectionIO) -> Kept | None:
        notes, made, claim = self._notes, getattr(server, "arcus", None), self._claim(client, server)
        free = getattr(server, "arcus_free", False) and server.alpn in _HTTP1 and not presents_certificate(side.tls)
        if not free or notes is None or claim is None or self._idle is None or not _is_faultless(notes):
            return None
        if getattr(server, "arcus_party", None) != party_of(self._conn) or not isinstance(made, EscapeNotes):
            return None
        side.tls.get_app_data().let_go()
        reader, writer = cast(asyncio.StreamReader, io.reader), cast(asyncio.StreamWriter, io.writer)
        return Kept(claim, server, side.tls, notes, made, reader, writer, self._born, _not_after(server), self._idle.now)

    def _claim(self, client: Client, server: Server) -> Claim | None:
        """None: for nobody. A trusted proxy's address stands for many clients."""
        conn = self._conn
        if conn.tenant is None or conn.client.trusted_peer or server.address is None:
            return None
        host, port = server.address
        listener, offers = conn.client.server, tuple(client.alpn_offers)
        return Claim(conn.tenant, conn.client.ip, conn.user, listener, (host, port), client.sni or "", offers)


def _is_quiet(io: ConnectionIO) -> bool:
    """Nothing of it waits in our buffers."""
    reader, writer = cast("asyncio.StreamReader", io.reader), cast(asyncio.StreamWriter, io.writer)
    unread = bool(vars(reader)["_buffer"]) or reader.at_eof() or reader.exception() is not None
    return not unread and not writer.is_closing() and writer.transport.get_write_buffer_size() == 0


def _is_faultless(notes: TlsNotes) -> bool:
    """Verified without anybody's leave, and nobody asked who we are."""
    accepted = notes.verify == "ok" and not notes.action and not notes.causes and not notes.completed and not notes.error
    return accepted and not notes.asked_certificate and not notes.presented_sha256


def _not_after(server: Server) -> float:
    """When the first certificate of those that it showed ends; at once when it showed none."""
    return min((each.to_cryptography().not_valid_after_utc.timestamp() for each in server.certificate_list), default=0.0)
