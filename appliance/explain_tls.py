"""What decryption rules want to know, for an explanation: from the question, from the network when asked to, or not at all."""

from dataclasses import dataclass
from typing import Protocol

from appliance.domain.errors import TaskError
from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, parse_ip
from appliance.domain.tls_facts import Need, TlsFacts
from appliance.domain.upstream import UpstreamFacts
from appliance.policy.decrypt import Step


class Network(Protocol):
    """Asks what live traffic asks, by the escaper named ``root``."""

    def addresses(self, root: str, conn: ConnNotes, target: Target) -> tuple[str, ...]:
        """Raises TaskError."""

    def look(self, root: str, conn: ConnNotes, target: Target, sni: str) -> UpstreamFacts: ...


@dataclass(frozen=True, slots=True)
class Learnt:
    """The facts with one more in them, and how it came about, for a step of the explanation."""

    facts: TlsFacts
    answer: str
    why: str


@dataclass(frozen=True, slots=True)
class Learning:
    """``address`` is the question's own; ``network`` None: nothing is sent, and what is not given counts as not known."""

    network: Network | None
    root: str
    conn: ConnNotes
    target: Target
    address: str

    def learn(self, facts: TlsFacts, need: Need) -> Learnt:
        return self._certificate(facts) if need is Need.CERTIFICATE else self._addresses(facts)

    def _certificate(self, facts: TlsFacts) -> Learnt:
        if self.network is None:
            unknown = UpstreamFacts(Reason.UPSTREAM_TLS_FAILED, "not looked at")
            why = "live traffic looks at the server here; without that its certificate is not known (try --look)"
            return Learnt(facts.with_upstream(unknown), "look", why)
        seen = self.network.look(self.root, self.conn, self.target, facts.hello.sni)
        issuer = f", issued by {seen.certificate.issuer}" if seen.certificate else ""
        asks = ", asks for a client certificate" if seen.asks_client_certificate else ""
        detail = f" ({seen.detail})" if seen.detail else ""
        return Learnt(facts.with_upstream(seen), "look", f"{self.target}: {seen.reason.word}{detail}{issuer}{asks}")

    def _addresses(self, facts: TlsFacts) -> Learnt:
        given = self.address or (self.target.host if parse_ip(self.target.host) else "")
        if given:
            return Learnt(facts.with_addresses((given,)), "resolve", given)
        if self.network is None:
            return Learnt(facts.with_addresses(()), "resolve", "live traffic resolves the name here (try --address or --look)")
        try:
            found = self.network.addresses(self.root, self.conn, self.target)
        except TaskError as error:
            return Learnt(facts.with_addresses(()), "resolve", str(error))
        return Learnt(facts.with_addresses(found), "resolve", ", ".join(found) or "only the parent proxy resolves it")


def about_rule(step: Step) -> str:
    """Which rule on which name, and why not or how."""
    where = f"{step.rule} on {step.host}" if step.host else step.rule
    return f"{where}: {step.why}" if step.why else where
