"""A connection to a server, as the dialer has opened it: for whom it was made, and what is told of its beginning and end."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable
from typing import Protocol, cast

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.proxy.server import ConnectionIO

from appliance.domain.errors import TaskError
from appliance.domain.notes import ConnNotes, EscapeNotes
from appliance.domain.reason import Reason
from appliance.egress.escaper import Dialed
from appliance.engine.stream import close_soon

logger = logging.getLogger(__name__)


class Dial(Protocol):
    def __call__(self, conn: ConnNotes, address: tuple[str, int], protocol: str) -> Awaitable[Dialed]: ...


class Servers:
    """Opens the connections of one client to servers, by the dialer, and closes them. ``transports`` are the open sides."""

    def __init__(self, conn: ConnNotes, dial: Dial, transports: dict[Connection, ConnectionIO]) -> None:
        self._conn, self._dial, self._transports = conn, dial, transports

    async def connect(self, connection: Server) -> bool:
        """Open it; False, and ``error`` says why, when that failed."""
        connection.arcus_party = party_of(self._conn)
        connection.timestamp_start = time.time()
        try:
            opened = await self._dialed(connection)
        except TaskError as error:
            connection.error, connection.timestamp_end = str(error), time.time()
            self._remember(connection, getattr(error, "escape", None))
            self._transports.pop(connection, None)
            return False
        except asyncio.CancelledError:
            self._transports.pop(connection, None)
            raise
        is_open(connection, opened)
        self._remember(connection, opened.notes)
        self._transports[connection] = ConnectionIO(reader=opened.reader, writer=opened.writer)
        return True

    def drop(self, connection: Server) -> None:
        connection.state = ConnectionState.CLOSED
        if (io := self._transports.pop(connection, None)) is not None:
            close_writer(io)
        has_ended(connection)

    async def _dialed(self, connection: Server) -> Dialed:
        if not connection.address:
            raise TaskError(Reason.BAD_REQUEST, "no destination")
        try:
            return await self._dial(self._conn, connection.address, "tls" if connection.tls else "http")
        except TaskError:
            raise
        except Exception as error:
            logger.exception("dialing %s failed", connection.address)
            raise TaskError(Reason.INTERNAL_ERROR, type(error).__name__) from error

    def _remember(self, connection: Server, notes: EscapeNotes | None) -> None:
        connection.arcus = notes
        self._conn.escape = notes


def party_of(conn: ConnNotes) -> tuple[str, str]:
    """For whom a connection to a server is made: tenant and user, by whom its way out, its guard and its trust are chosen."""
    return conn.tenant or "", conn.user.name if conn.user else ""


def is_open(connection: Server, opened: Dialed) -> None:
    """Write on mitmproxy's object what is known of it now."""
    connection.timestamp_tcp_setup = time.time()
    connection.state = ConnectionState.OPEN
    connection.peername = opened.writer.get_extra_info("peername")[:2]
    connection.sockname = opened.writer.get_extra_info("sockname")[:2]
    if opened.absolute_form:
        connection.arcus_parent_auth = opened.proxy_authorization or ""


def close_writer(io: ConnectionIO) -> None:
    """What is buffered is sent first."""
    if io.writer is not None:
        with contextlib.suppress(OSError):
            close_soon(cast(asyncio.StreamWriter, io.writer).transport)


def has_ended(connection: Server) -> None:
    """Tell whoever waits for it (``arcus_ended``)."""
    connection.timestamp_end = time.time()
    if (ended := getattr(connection, "arcus_ended", None)) is not None:
        ended()
