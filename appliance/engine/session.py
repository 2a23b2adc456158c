"""One client connection, from accept to its end: what every lane shares."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from appliance.config.server import Server
from appliance.domain.decision import Decision
from appliance.domain.facts import HelloFacts, RequestFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.engine.deadlines import Deadlines
from appliance.engine.gate import Gate
from appliance.engine.handler import Ending, Opening, TaskHandler
from appliance.engine.hooks import HookTable
from appliance.engine.idle_servers import IdleServers
from appliance.engine.options import EAGER, LAZY
from appliance.engine.phases import Phases
from appliance.engine.replies import assemble
from appliance.engine.server_connection import Dial
from appliance.engine.stream import ClientStream
from appliance.engine.survey import Survey
from appliance.policy.pages import Page


class Pages(Protocol):
    def __call__(self, notes: TaskNotes, accept: str) -> Page: ...


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts of a worker that lanes use; built once by the composition root."""

    gate: Gate
    hooks: HookTable
    dial: Dial
    ending: Ending
    record: Callable[[TaskNotes], None]
    """Writes the audit record; raises when it cannot, and then nothing may pass."""
    page: Pages
    resolve: Callable[[ConnNotes, Target], Awaitable[tuple[str, ...]]]
    """The addresses of a name, by the resolver of the connection's way out; none behind a parent proxy. Raises TaskError."""
    survey: Survey
    """A look at a server's TLS before a decision that depends on it."""
    full: Callable[[], bool]
    """Whether the audit spool has no room: then new tasks are refused, or they would pass without a record."""
    deadlines: Deadlines
    limit_hit: Callable[[Reason], None]
    connection_ended: Callable[[ConnNotes], None]
    """Told of each connection that a lane has served, for the counters."""
    idle_servers: IdleServers | None = None
    """Connections to servers that wait for their client's next one; without, none is kept."""
    leaving: Callable[[], bool] = lambda: False
    """Whether other workers have taken this one's place: clients are told to go on over another connection."""


class Session:
    """``stream`` and ``conn`` belong to this connection alone; ``tasks`` counts the records made for it."""

    def __init__(self, engine: Engine, config: Server, stream: ClientStream, conn: ConnNotes) -> None:
        self.engine = engine
        self.config = config
        self.stream = stream
        self.conn = conn
        self.handler: TaskHandler | None = None
        self.relaying = False

    def task(self, kind: str, target: Target | None = None, scheme: str = "", method: str = "") -> TaskNotes:
        now = time.time()
        return TaskNotes(self.conn, kind=kind, started=now, target=target, scheme=scheme, method=method, escaper=self.escaper)

    @property
    def open_tasks(self) -> int:
        """Requests under way, or one for a relayed tunnel."""
        return len(self.handler.phases.live) if self.handler is not None else int(self.relaying)

    @property
    def escaper(self) -> str:
        return self.engine.gate.escaper(self.conn)

    def facts(self, target: Target, scheme: str, method: str = "") -> RequestFacts:
        conn = self.conn
        sni = conn.hello.sni if conn.hello else ""
        original_ip = ""
        if sni and conn.protocol == "tproxy":
            target, original_ip = Target(sni, target.port), target.host
        return RequestFacts(
            conn.tenant or TenantId(""),
            conn.client,
            target,
            scheme=scheme,
            method=method,
            sni=sni,
            user=conn.user,
            original_ip=original_ip,
        )

    def finish(self, notes: TaskNotes, reason: Reason = Reason.OK, detail: str = "") -> None:
        """Record a task that no flow carries. Counted as a limit when the reason is one."""
        if reason is not Reason.OK:
            notes.fail(reason, detail)
        if notes.reason is not Reason.OK:
            self.engine.limit_hit(notes.reason)
        notes.ended = time.time()
        self.engine.record(notes)
        self.conn.requests += 1

    def refuse(self, notes: TaskNotes, reason: Reason, detail: str = "", *, accept: str = "", close: bool = True) -> None:
        """Answer with a page over HTTP/1.1; the record is written first."""
        notes.fail(reason, detail)
        page = self.engine.page(notes, accept)
        notes.status = page.status
        self.finish(notes, reason, detail)
        self.stream.writer.write(assemble(page.status, page.headers, page.body, close=close))

    def refuse_decision(self, notes: TaskNotes, decision: Decision, accept: str = "") -> None:
        notes.decision = decision
        self.refuse(notes, decision.reason, decision.message, accept=accept)

    async def intercept(self, opening: Opening, *, tls: bool, eager: bool, hand_over: bool = False) -> bool:
        """Run mitmproxy's HTTP on this stream. True: a CONNECT follows and the stream is still open."""
        engine = self.engine
        handler = TaskHandler(
            self.conn, self.stream, EAGER if eager else LAZY, engine.hooks, engine.dial, engine.ending,
            Phases(self.config.timeouts, tls=tls), engine.idle_servers,
        )  # fmt: skip
        handler.may_hand_over = hand_over
        self.handler = handler
        engine.deadlines.add(handler)
        try:
            return await handler.run(opening)
        finally:
            self.handler = None
            engine.deadlines.discard(handler)
            if handler.reason is not Reason.OK:
                engine.limit_hit(handler.reason)

    def learn_hello(self, hello: HelloFacts) -> Reason:
        """Note the ClientHello; the SNI may name the tenant."""
        self.conn.hello = hello
        return self.learn_name(hello.sni)

    def learn_name(self, name: str) -> Reason:
        """A name learnt late may move a connection from the default tenant to the one it names, never past that
        tenant's authentication: who has not shown a password of its user group is refused."""
        conn, gate = self.conn, self.engine.gate
        if not name or conn.tenant_method != "default":
            return Reason.OK
        tenant, user, group = conn.tenant, conn.user, gate.group(conn)
        reason = gate.identify(conn, names=(name,))
        if reason is not Reason.OK or conn.tenant == tenant:
            return reason
        conn.tunnel_decision = None
        wanted = gate.group(conn)
        if wanted == group:
            conn.user = user
        elif wanted is not None and conn.protocol != "tproxy" and not gate.admits_anonymous(wanted):
            return Reason.AUTH_REQUIRED
        return Reason.OK
