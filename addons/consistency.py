"""Is the host of a request the one that its connection leads to: domain fronting, and addresses that are not the name's."""

from collections.abc import Awaitable, Iterable
from typing import Protocol

from mitmproxy.http import HTTPFlow

from addons.carry import Pages, answer, claimed_host, conn_of, task_of
from appliance.config.consistency import NameConsistency
from appliance.domain.decision import Action, Decision, TlsAction, TlsDecision
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, parse_ip
from appliance.policy.consistency import refusal, wrong_address
from certs.covers import covers


class Judge(Protocol):
    """See ``appliance.engine.gate`` and the composition root."""

    def consistency(self, conn: ConnNotes) -> NameConsistency: ...
    def tls_of(self, conn: ConnNotes, host: str, port: int, now: float) -> TlsDecision: ...


class Resolve(Protocol):
    def __call__(self, conn: ConnNotes, target: Target) -> Awaitable[tuple[str, ...]]: ...


class Consistency:
    """Asked after the access policy, which has judged every name. The usual case, one name, costs two comparisons."""

    def __init__(self, judge: Judge, resolve: Resolve, page: Pages) -> None:
        self._judge, self._resolve, self._page = judge, resolve, page

    def requestheaders(self, flow: HTTPFlow) -> Awaitable[None] | None:
        conn = conn_of(flow.client_conn)
        tunnel = conn.tunnel
        if flow.response is not None or tunnel is None or conn.portal:
            return None  # without a tunnel the request's target is its own, and the strict layer has compared it with Host
        sni = conn.hello.sni if conn.hello else ""
        host = claimed_host(flow)
        if host in (sni, tunnel.host) or not host:
            return None
        if conn.hello is None and parse_ip(tunnel.host) is not None and parse_ip(host) is None:
            return self._address(flow, conn, tunnel, host)
        self._host(flow, conn, host, dict.fromkeys(name for name in (sni, tunnel.host) if name))
        return None

    def _host(self, flow: HTTPFlow, conn: ConnNotes, host: str, names: Iterable[str]) -> None:
        """The request is for a name that the connection was not judged by."""
        notes = task_of(flow)
        kind = "reuse" if _certified(flow, conn, host) else "host"
        detail = f"{host}, not {' or '.join(names)}"
        notes.mismatches.append(f"{kind}: {detail}")
        decision = self._judge.tls_of(conn, host, flow.request.port, notes.started) if conn.hello else None
        if decision is not None and decision.action is TlsAction.BLOCK:
            self._stop(flow, notes, Decision(Action.BLOCK, Reason.DECRYPT_BLOCKED, decision.rule, "decrypt", decision.text))
        elif getattr(self._judge.consistency(conn), kind) == "block" or _private(decision):
            self._stop(flow, notes, refusal(kind, detail))

    async def _address(self, flow: HTTPFlow, conn: ConnNotes, tunnel: Target, host: str) -> None:
        """Plain HTTP to an address that the client chose, for a name that it wrote itself."""
        notes, policy, named = task_of(flow), self._judge.consistency(conn).address, Target(host, tunnel.port)
        wrong = await wrong_address(tunnel.host, host, self._resolve(conn, named))
        if wrong:
            notes.mismatches.append(f"address: {wrong}")
        if wrong and policy == "block":
            self._stop(flow, notes, refusal("address", wrong))
        elif policy != "log":
            flow.request.data.host = host  # the property would write the Host field as well
            notes.target = named

    def _stop(self, flow: HTTPFlow, notes: TaskNotes, decision: Decision) -> None:
        notes.decision = decision
        notes.fail(decision.reason, decision.message)
        answer(flow, self._page(notes, flow.request.headers.get("accept", "")), notes)


def _private(decision: TlsDecision | None) -> bool:
    """A host that is not decrypted by itself is not decrypted on another's connection: 421 makes the client open its own."""
    return decision is not None and decision.action is TlsAction.SPLICE


def _certified(flow: HTTPFlow, conn: ConnNotes, host: str) -> bool:
    """Whether the server that this connection leads to has proved to be this host, too."""
    proved = conn.server_tls is not None and conn.server_tls.verify == "ok"
    return proved and any(covers(each.to_cryptography(), host) for each in flow.server_conn.certificate_list[:1])
