"""May this request be made: the access policy, with method, URL and every name that the request claims."""

from typing import Protocol

from mitmproxy.http import HTTPFlow

from addons.carry import Pages, answer, claimed_host, conn_of, task_of
from appliance.domain.decision import Decision
from appliance.domain.facts import RequestFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, parse_ip


class Policy(Protocol):
    """See ``appliance.engine.gate``."""

    def access(self, facts: RequestFacts) -> Decision: ...


class Access:
    def __init__(self, policy: Policy, page: Pages) -> None:
        self._policy = policy
        self._page = page

    def requestheaders(self, flow: HTTPFlow) -> None:
        if flow.response is not None:
            return
        conn, notes = conn_of(flow.client_conn), task_of(flow)
        if notes.target is None:
            self._stop(flow, notes, Reason.BAD_REQUEST, "no destination")
            return
        decision = notes.decision = self._decide(flow, conn, notes, notes.target)
        notes.stage = "decided"
        if not decision.allowed:
            self._stop(flow, notes, decision.reason, decision.message)

    def _decide(self, flow: HTTPFlow, conn: ConnNotes, notes: TaskNotes, target: Target) -> Decision:
        if conn.tunnel_decision is not None and not conn.tunnel_decision.allowed:
            return conn.tunnel_decision
        sni = conn.hello.sni if conn.hello else ""
        original_ip = ""
        if sni and conn.tunnel is not None and parse_ip(conn.tunnel.host) is not None:
            # the connection may go to the name's own address by now; what the client chose is judged all the same
            redirected = conn.protocol == "tproxy"
            target, original_ip = (Target(sni, target.port), conn.tunnel.host) if redirected else (conn.tunnel, "")
        facts = RequestFacts(
            conn.tenant or TenantId(""),
            conn.client,
            target,
            scheme=notes.scheme,
            method=notes.method,
            path=notes.path,
            host_header=claimed_host(flow),
            sni=sni,
            user=conn.user,
            original_ip=original_ip,
        )
        return self._policy.access(facts)

    def _stop(self, flow: HTTPFlow, notes: TaskNotes, reason: Reason, message: str) -> None:
        notes.fail(reason, message)
        answer(flow, self._page(notes, flow.request.headers.get("accept", "")), notes)
