"""What follows a CONNECT, a SOCKS request or a transparent redirect: bytes to a target, of a protocol not known yet.

The first bytes decide the lane: TLS is intercepted, spliced or blocked by the decryption rules, HTTP is inspected, and
what is neither is refused, unless the tenant's auditor lets unknown protocols pass. A client that sends its first bytes
one at a time waits for its lane; it does not slip into another.
"""

import asyncio
import time

from mitmproxy.proxy import layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode

from appliance.domain import ech
from appliance.domain.decision import PORTAL, PORTAL_TLS, Action, Decision, TlsAction, TlsDecision
from appliance.domain.errors import ClientError, TaskError
from appliance.domain.facts import HelloFacts
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, parse_ip
from appliance.engine import bad_certificate
from appliance.engine.clienthello import Progress
from appliance.engine.consistency import settle
from appliance.engine.decision import decide_tls
from appliance.engine.flat import FlatHttpLayer
from appliance.engine.handler import Opening, TaskHandler
from appliance.engine.handshake import handshakes
from appliance.engine.inline_tls import ChooseHttp
from appliance.engine.observer import Observer
from appliance.engine.recognise import classify, classify_plain
from appliance.engine.replies import TLS_ACCESS_DENIED
from appliance.engine.session import Session
from appliance.engine.splice import relay

SILENT_WAIT = 3.0
"""Seconds to wait for a client that may be waiting for the server's greeting, where unknown protocols may pass."""


async def tunnel(session: Session, target: Target) -> None:
    """Serve one tunnel to its end. Every way out of here has been recorded."""
    session.conn.tunnel = target
    session.conn.portal = session.engine.gate.portal.tunnel(target)
    try:
        lane = await _recognise(session)
    except TimeoutError:
        _refuse(session, target, "tcp", Reason.CLIENT_SILENT)
        return
    except ClientError as error:
        session.stream.writer.write(TLS_ACCESS_DENIED)
        _refuse(session, target, "tls", error.reason, error.detail)
        return
    if isinstance(lane, HelloFacts):
        await _tls(session, target, lane)
    elif lane == "http":
        await _plain_http(session, target)
    elif lane == "closed":
        _refuse(session, target, "tcp", Reason.CLIENT_CLOSED)
    else:
        await _unknown(session, target)


async def _recognise(session: Session) -> HelloFacts | str:
    """The ClientHello, or ``http``, ``closed`` or ``unknown``; waits until the bytes are enough to tell."""
    may_pass = session.engine.gate.view(session.conn).auditor.unknown_protocol == "bypass"
    timeouts = session.config.timeouts
    wait = min(timeouts.handshake, SILENT_WAIT) if may_pass else timeouts.handshake
    reader = session.stream.reader
    try:
        async with asyncio.timeout(wait) as deadline:
            data = await reader.peek(1)
            deadline.reschedule(asyncio.get_running_loop().time() + timeouts.handshake)
            progress = Progress()
            while True:
                lane = classify(data, session.config.limits.client_hello, progress)
                if lane is not None:
                    return lane
                longer = await reader.peek_more(len(data))
                if longer == data:
                    return "closed" if not data else "unknown"
                data = longer
    except TimeoutError:
        if may_pass and not reader.buffered:
            return "unknown"
        raise


async def _tls(session: Session, target: Target, hello: HelloFacts) -> None:
    reason = session.learn_hello(hello)
    if reason is not Reason.OK:
        session.stream.writer.write(TLS_ACCESS_DENIED)
        _refuse(session, target, "tls", reason)
        return
    conn = session.conn
    conn.portal = session.engine.gate.portal.tunnel(target, hello.sni)
    if conn.portal:
        conn.tunnel_decision, conn.tls_decision = PORTAL, PORTAL_TLS
        await _intercept_tls(session, target, hello, PORTAL)
        return
    by_name = bool(hello.sni) and parse_ip(target.host) is not None
    names = (hello.sni,) if by_name else tuple(dict.fromkeys(name for name in (hello.sni, target.host) if name))
    if conn.tunnel_decision is None or conn.tunnel_decision.allowed:
        conn.tunnel_decision = session.engine.gate.access(session.facts(target, "https"))
    settled = await settle(session, target, hello.sni, conn.tunnel_decision)
    target, conn.tunnel_decision = settled.target, settled.access
    mode = session.engine.gate.view(conn).ech
    decision = await decide_tls(session, target, names, conn.tunnel_decision)
    decision = conn.tls_decision = ech.judge(decision, hello, mode)
    if decision.action is TlsAction.BLOCK:
        await _block_tls(session, target, hello, decision, conn.tunnel_decision)
        return
    if decision.action is TlsAction.INTERCEPT and conn.tunnel_decision.allowed:
        bad = await bad_certificate.spliced(session, target, hello, time.time())
        decision = conn.tls_decision = ech.judge(bad or decision, hello, mode)
    if decision.action is TlsAction.SPLICE:
        await _splice_tls(session, target, hello, conn.tunnel_decision)
    else:
        await _intercept_tls(session, target, hello, conn.tunnel_decision)


async def _block_tls(session: Session, target: Target, hello: HelloFacts, decision: TlsDecision, access: Decision) -> None:
    """The page inside TLS names rule and reason; the server is not contacted for it."""
    blocked = Decision(Action.BLOCK, Reason.DECRYPT_BLOCKED, decision.rule, "decrypt", decision.text, would=access.would)
    denied = blocked if access.allowed else access
    if decision.page:
        session.conn.tunnel_decision = denied
        await _intercept_tls(session, target, hello, denied)
    else:
        session.stream.writer.write(TLS_ACCESS_DENIED)
        _refuse(session, target, "tls", denied.reason, denied.message, denied)


async def _splice_tls(session: Session, target: Target, hello: HelloFacts, access: Decision) -> None:
    if not access.allowed:
        session.stream.writer.write(TLS_ACCESS_DENIED)
        _refuse(session, target, "tls", access.reason, access.message, access)
        return
    if hello.sni and parse_ip(target.host) is not None:
        # The rule spliced a name. Dialing the address that the client chose would let it reach any server under that name.
        target = Target(hello.sni, target.port)
    await _relay(session, target, "tls", access)


async def _intercept_tls(session: Session, target: Target, hello: HelloFacts, access: Decision) -> None:
    view = session.engine.gate.view(session.conn)
    interception = view.auditor.tls_interception
    # A blocked host gets its page inside TLS; the server is not contacted for it.
    eager = access.allowed and not session.conn.portal and (interception is None or interception.connection_strategy == "eager")

    async def opening(handler: TaskHandler) -> bool:
        handler.context.server.address = (target.host, target.port)
        return await handshakes(handler, hello, _inside_tls(session, handler.context), eager=eager)

    await session.intercept(opening, tls=True, eager=eager)


def _inside_tls(session: Session, ctx: Context) -> ChooseHttp:
    """After the handshake: HTTP by ALPN or by its first bytes; anything else is refused."""

    def choose(data: bytes, server_first: bool) -> layer.Layer | None:
        lane = "http" if ctx.client.alpn in (b"h2", b"http/1.1") else classify_plain(data)
        if lane == "http":
            return _http_layer(session, ctx, HTTPMode.transparent)
        if lane == "unknown" and session.handler is not None:
            session.handler.abort(Reason.UNKNOWN_PROTOCOL, "inside TLS")
        elif server_first and session.handler is not None:
            # What waits for the client's first word is held without a limit; no HTTP server says anything before it.
            session.handler.abort(Reason.UNKNOWN_PROTOCOL, "the server speaks first")
        return None

    return choose


async def _plain_http(session: Session, target: Target) -> None:
    await session.intercept(_http(session, HTTPMode.transparent, target), tls=False, eager=False)


def _http(session: Session, mode: HTTPMode, target: Target | None = None) -> Opening:
    """HTTP at once."""

    async def opening(handler: TaskHandler) -> bool:
        if target is not None:
            handler.context.server.address = (target.host, target.port)
        handler.begin(_http_layer(session, handler.context, mode))
        return True

    return opening


def _http_layer(session: Session, ctx: Context, mode: HTTPMode) -> layer.Layer:
    http = FlatHttpLayer(ctx, mode, session.config.limits, Observer(session))
    if session.handler is not None:
        session.handler.streaming.backlog = http.client_backlog
        session.handler.streaming.stream_backlog = http.stream_backlog
        session.handler.streaming.release = http.release
        session.handler.phases.body_octets = http.client_body
    return http


async def explicit_http(session: Session) -> bool:
    """Absolute-form requests, until the connection ends (False) or a CONNECT follows (True)."""
    return await session.intercept(_http(session, HTTPMode.regular), tls=False, eager=False, hand_over=True)


async def _unknown(session: Session, target: Target) -> None:
    view = session.engine.gate.view(session.conn)
    access = session.conn.tunnel_decision
    if access is None or access.allowed:
        access = session.engine.gate.access(session.facts(target, "tcp"))
    if session.conn.portal or view.auditor.unknown_protocol == "block":
        _refuse(session, target, "tcp", Reason.UNKNOWN_PROTOCOL)
    elif not access.allowed:
        _refuse(session, target, "tcp", access.reason, access.message, access)
    else:
        session.conn.tls_decision = TlsDecision(TlsAction.SPLICE, "unknown_protocol", "not TLS and not HTTP")
        await _relay(session, target, "tcp", access)


async def _relay(session: Session, target: Target, scheme: str, access: Decision) -> None:
    """The splice lane: dial, then join the two transports."""
    notes = session.task("tunnel", target, scheme)
    notes.decision = access
    if session.engine.full():
        session.finish(notes, Reason.RESOURCE_EXHAUSTED, "audit spool")
        return
    notes.not_scanned.append(NotScanned.SPLICED.word)
    started = time.monotonic()
    try:
        opened = await session.engine.dial(session.conn, (target.host, target.port), "tls" if scheme == "tls" else "tcp")
    except TaskError as error:
        notes.escape = getattr(error, "escape", None)
        session.finish(notes, error.reason, error.detail)
        return
    notes.escape = opened.notes
    notes.step("connect", time.monotonic() - started)
    deadlines = session.engine.deadlines
    session.relaying = True
    joined = await relay(
        session.stream, opened.reader, opened.writer, session.config.timeouts.tunnel_idle, deadlines.add, deadlines.discard
    )
    session.relaying = False
    notes.request_bytes, notes.response_bytes = joined.bytes_in, joined.bytes_out
    session.conn.bytes_in += joined.bytes_in
    session.conn.bytes_out += joined.bytes_out
    notes.stage = "finished"
    if joined.timed_out or joined.cut:
        notes.fail(Reason.IDLE_TIMEOUT if joined.timed_out else Reason.SHUTTING_DOWN)
    notes.detail = notes.detail or joined.error
    session.finish(notes)


def _refuse(
    session: Session, target: Target, scheme: str, reason: Reason, detail: str = "", decision: Decision | None = None
) -> None:
    notes: TaskNotes = session.task("connection" if scheme == "tcp" else "tunnel", target, scheme)
    notes.decision = decision
    session.finish(notes, reason, detail)
