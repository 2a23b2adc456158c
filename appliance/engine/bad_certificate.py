"""A server whose certificate is bad, and whose tenant would rather have the client judge it: relayed instead of decrypted."""

from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.facts import HelloFacts
from appliance.domain.target import Target, normalise_host, parse_ip
from appliance.engine.session import Session
from appliance.policy.upstream_certificates import CertAction


async def spliced(session: Session, target: Target, hello: HelloFacts, now: float) -> TlsDecision | None:
    """The decision to relay, when the matrix says so for what a look at the server shows; None otherwise.

    The server is looked at only for tenants whose matrix can splice. With a name in the ClientHello that is not the
    tunnel's, the matrix has to say so for both: any server can show a bad certificate for an exempt name. ``now`` is
    seconds since the epoch.
    """
    matrix = session.engine.gate.view(session.conn).certificates
    if not matrix.uses(CertAction.SPLICE):
        return None
    if hello.sni and parse_ip(target.host) is not None:
        target = Target(hello.sni, target.port)  # what is spliced is dialled by name
    facts = await session.engine.survey.look(session.conn, target, hello.sni, hello.alpn)
    names = {normalise_host(hello.sni or target.host), target.host}
    choices = [matrix.decide(facts.reason, name, now) for name in sorted(names)]
    if not facts.reached or any(choice.action is not CertAction.SPLICE for choice in choices):
        return None
    return TlsDecision(TlsAction.SPLICE, f"upstream_certificates {choices[0].rule}", facts.reason.word)
