"""The decryption rules' answer for one connection, and what has to be learnt before there is one."""

import time

from appliance.domain.decision import Decision, TlsDecision
from appliance.domain.errors import TaskError
from appliance.domain.target import Target, parse_ip
from appliance.domain.tls_facts import Need, TlsFacts
from appliance.domain.upstream import UpstreamFacts
from appliance.engine.session import Session


async def decide_tls(session: Session, target: Target, names: tuple[str, ...], access: Decision) -> TlsDecision:
    """Ask the rules; learn what they want to know; ask again. ``target`` is where the connection would go.

    Nobody is contacted for a destination that the access policy refuses: there the rules do without.
    """
    gate = session.engine.gate
    facts = gate.tls_facts(session.conn, names, target.port, time.time())
    while isinstance(answer := gate.tls(session.conn, facts), Need):
        facts = await _learn(session, target, facts, answer, access)
    return answer


async def _learn(session: Session, target: Target, facts: TlsFacts, need: Need, access: Decision) -> TlsFacts:
    if need is Need.ADDRESSES:
        return facts.with_addresses(await _addresses(session, target, access))
    if not access.allowed:
        return facts.with_upstream(UpstreamFacts(access.reason, "not looked at: access is denied"))
    hello = facts.hello
    upstream = session.conn.upstream = await session.engine.survey.look(session.conn, target, hello.sni, hello.alpn)
    return facts.with_upstream(upstream)


async def _addresses(session: Session, target: Target, access: Decision) -> tuple[str, ...]:
    """Where the name leads, by the resolver of the way out; empty where it cannot be known."""
    if parse_ip(target.host) is not None:
        return (target.host,)
    if not access.allowed:
        return ()
    try:
        return await session.engine.resolve(session.conn, target)
    except TaskError:
        return ()
