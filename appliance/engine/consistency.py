"""The names that a connection claims before TLS begins, held against each other: where does it go, if anywhere?"""

from dataclasses import dataclass

from appliance.domain.decision import Decision
from appliance.domain.target import Target, parse_ip
from appliance.engine.session import Session
from appliance.policy.consistency import refusal, wrong_address


@dataclass(frozen=True, slots=True)
class Settled:
    """Where the connection goes, and the access decision with what the names say about it."""

    target: Target
    access: Decision


async def settle(session: Session, target: Target, sni: str, access: Decision) -> Settled:
    """Compare the server name with what the client asked for: a host, or an address.

    Nothing is looked up for a connection that the access policy refuses.
    """
    if not sni or sni == target.host or not access.allowed:
        return Settled(target, access)
    if parse_ip(target.host) is not None:
        return await _address(session, target, sni, access)
    detail = f"{sni}, not {target.host}"
    session.conn.mismatches.append(f"sni: {detail}")
    block = session.engine.gate.consistency(session.conn).sni == "block"
    return Settled(target, refusal("sni", detail) if block else access)


async def _address(session: Session, target: Target, sni: str, access: Decision) -> Settled:
    policy, named = session.engine.gate.consistency(session.conn).address, Target(sni, target.port)
    wrong = await wrong_address(target.host, sni, session.engine.resolve(session.conn, named))
    if wrong:
        session.conn.mismatches.append(f"address: {wrong}")
    if wrong and policy == "block":
        return Settled(target, refusal("address", wrong))
    return Settled(target if policy == "log" else named, access)
