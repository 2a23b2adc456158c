"""A connection to a server, as the dialer has opened it: for whom it was made, and what is told of its beginning and end."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from typing import Protocol, cast

from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy.server import ConnectionIO

from appliance.domain.notes import ConnNotes
from appliance.egress.escaper import Dialed
from appliance.engine.stream import close_soon


class Dial(Protocol):
    def __call__(self, conn: ConnNotes, address: tuple[str, int], protocol: str) -> Awaitable[Dialed]: ...


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
