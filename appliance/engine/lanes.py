"""From an accepted socket to its lane, by the kind of listener."""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable

from appliance.config.server import HttpProxy, Server, SocksProxy, TcpTproxy
from appliance.domain.decision import PORTAL
from appliance.domain.errors import ClientError
from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.engine import socks
from appliance.engine.gate import client_facts, refuses
from appliance.engine.http.head import RequestHead, read_head
from appliance.engine.original_dst import original_destination
from appliance.engine.replies import ESTABLISHED
from appliance.engine.session import Engine, Session
from appliance.engine.stream import accept_stream
from appliance.engine.tunnel import explicit_http, tunnel

logger = logging.getLogger(__name__)


class Reception:
    """Serves every connection of one listener."""

    def __init__(self, engine: Engine, config: Server, tls: ssl.SSLContext | None, trusted: Callable[[str], bool]) -> None:
        self._engine = engine
        self._config = config
        self._tls = tls
        self._trusted = trusted
        self.sessions: set[Session] = set()

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def open_tasks(self) -> int:
        return sum(session.open_tasks for session in self.sessions)

    async def serve(self, sock: socket.socket, peer: tuple[str, int], local: tuple[str, int]) -> None:
        """One connection, to its end."""
        config = self._config
        client = client_facts(config.name, peer, local, self._trusted(peer[0]))
        conn = ConnNotes(client, started=time.time())
        original = original_destination(sock, config.mode) if isinstance(config, TcpTproxy) else None
        try:
            stream = await accept_stream(sock, self._tls, config.timeouts.handshake)
        except (OSError, TimeoutError) as error:
            sock.close()
            self._handshake_failed(conn, error)
            return
        session = Session(self._engine, config, stream, conn)
        self.sessions.add(session)
        try:
            await self._run(session, original)
        finally:
            self.sessions.discard(session)
            self._engine.gate.release(conn)
            self._engine.connection_ended(conn)
            await stream.finish()

    def _handshake_failed(self, conn: ConnNotes, error: Exception) -> None:
        reason = Reason.HANDSHAKE_TIMEOUT if isinstance(error, TimeoutError) else Reason.CLIENT_TLS_FAILED
        self._engine.limit_hit(reason)
        logger.info("TLS to the proxy from %s failed: %s", conn.client.ip, error)

    async def _run(self, session: Session, original: Target | None) -> None:
        try:
            match self._config:
                case HttpProxy():
                    await http_lane(session)
                case SocksProxy():
                    await socks_lane(session)
                case TcpTproxy():
                    await transparent_lane(session, original)
        except TimeoutError:
            session.finish(session.task("connection"), Reason.CLIENT_SILENT)
        except (asyncio.IncompleteReadError, OSError):  # on a TLS listener also records that are none
            if not session.conn.requests and session.stream.reader.buffered:
                session.finish(session.task("connection"), Reason.CLIENT_CLOSED)


async def http_lane(session: Session) -> None:
    """Explicit proxy: CONNECT requests are answered here, everything else goes through the strict HTTP layer."""
    session.conn.protocol = "http"
    while True:
        try:
            head = await _read_head(session)
        except ClientError as error:
            session.engine.gate.identify(session.conn)
            session.refuse(session.task("connection"), error.reason, error.detail)
            return
        if head is None:
            return
        if head.method == b"CONNECT":
            if not await _connect(session, head):
                return
        elif not await explicit_http(session):
            return


async def _read_head(session: Session) -> RequestHead | None:
    """The next request head, left in the buffer; None at the end of the stream.

    Raises:
        ClientError: malformed, over a limit, or not complete within the header timeout.
        TimeoutError: nothing came within the idle timeout.
    """
    timeouts, limits, reader = session.config.timeouts, session.config.limits, session.stream.reader
    async with asyncio.timeout(timeouts.client_idle):
        data = await reader.peek(1)
    # usually it is there as a whole, and needs no deadline
    if not data or (head := read_head(data, limits)) is not None:
        return head if data else None
    try:
        async with asyncio.timeout(timeouts.header):
            while True:
                longer = await reader.peek_more(len(data))
                if longer == data:
                    raise ClientError(Reason.CLIENT_CLOSED, "inside a header")
                if (head := read_head(longer, limits, scanned=len(data))) is not None:
                    return head
                data = longer
    except TimeoutError as error:
        raise ClientError(Reason.HEADER_TIMEOUT) from error


async def _connect(session: Session, head: RequestHead) -> bool:
    """Answer a CONNECT. True: it was refused and the connection may carry another request."""
    conn, gate = session.conn, session.engine.gate
    session.stream.reader.skip(head.size)
    notes = session.task("connection", head.target, "connect", "CONNECT")
    notes.user_agent = field(head, b"user-agent")
    if head.target is None:
        session.refuse(notes, Reason.BAD_REQUEST, "CONNECT without host:port")
        return False
    reason = gate.identify(conn, claimed=field(head, b"x-tenant-id"), names=(head.target.host,))
    if reason is not Reason.OK:
        session.refuse(notes, reason)
        return False
    if gate.portal.tunnel(head.target):
        conn.protocol, conn.tunnel_decision = "connect", PORTAL
        session.stream.writer.write(ESTABLISHED)
        await tunnel(session, head.target)
        return False
    conn.user, reason, detail = await gate.authenticate(conn, field(head, b"proxy-authorization") or None)
    if reason is not Reason.OK:
        session.refuse(notes, reason, detail, accept=field(head, b"accept"), close=reason.status != 407)
        await session.stream.writer.drain()
        return reason.status == 407
    decision = gate.access(session.facts(head.target, "connect", "CONNECT"))
    if refuses(decision):
        session.refuse_decision(notes, decision, field(head, b"accept"))
        return False
    conn.protocol, conn.tunnel_decision = "connect", decision
    session.stream.writer.write(ESTABLISHED)
    await tunnel(session, head.target)
    return False


def field(head: RequestHead, name: bytes) -> str:
    """The value of a field, or nothing. Repeated ones are joined, as everywhere else: one of them alone could be the one
    that a client put in front of what its trusted proxy says."""
    return ", ".join(value.decode("utf-8", "replace") for key, value in head.fields if key.lower() == name)


async def socks_lane(session: Session) -> None:
    """SOCKS5: authentication when the tenant (or listener) has a user group."""
    conn, gate = session.conn, session.engine.gate
    conn.protocol = "socks5"
    reason = gate.identify(conn)
    if reason is not Reason.OK:
        session.finish(session.task("connection", scheme="socks"), reason)
        return
    group = gate.group(conn)
    try:
        async with asyncio.timeout(session.config.timeouts.handshake):
            target = await socks.negotiate(
                session.stream, _socks_verify(session) if group else None, bool(group) and gate.admits_anonymous(group or "")
            )
    except ClientError as error:
        session.finish(session.task("connection", scheme="socks"), error.reason, error.detail)
        return
    if (reason := session.learn_name(target.host)) is not Reason.OK:
        session.finish(session.task("connection", target, "socks"), reason)
        return
    decision = PORTAL if gate.portal.tunnel(target) else gate.access(session.facts(target, "socks"))
    if refuses(decision):
        session.stream.writer.write(socks.reply(socks.NOT_ALLOWED))
        notes = session.task("connection", target, "socks")
        notes.decision = decision
        session.finish(notes, decision.reason, decision.message)
        return
    conn.tunnel_decision = decision
    session.stream.writer.write(socks.reply(socks.SUCCEEDED))
    await tunnel(session, target)


def _socks_verify(session: Session) -> socks.Verify:
    async def verify(user: str, password: str) -> bool:
        found, reason, detail = await session.engine.gate.verify(session.conn, user, password)
        session.conn.user = found
        if reason is not Reason.OK:
            session.conn.events.append(f"{reason.word}: {detail}" if detail else reason.word)
        return reason is Reason.OK

    return verify


async def transparent_lane(session: Session, original: Target | None) -> None:
    """Redirected connections. Nobody can be asked for a password here: users are known by network only."""
    conn, gate = session.conn, session.engine.gate
    conn.protocol = "tproxy"
    if original is None:
        session.finish(session.task("connection", scheme="tcp"), Reason.BAD_REQUEST, "not redirected here")
        return
    conn.original_dst = str(original)
    reason = gate.identify(conn)
    if reason is not Reason.OK:
        session.finish(session.task("connection", original, "tcp"), reason)
        return
    decision = gate.access(session.facts(original, "tcp"))
    if refuses(decision):
        notes = session.task("connection", original, "tcp")
        notes.decision = decision
        session.finish(notes, decision.reason, decision.message)
        return
    await tunnel(session, original)
