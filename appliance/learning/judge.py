"""Is the evidence enough? Pure: the same evidence has the same answer."""

import ipaddress
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.config.exclusions import Learning
from appliance.domain.exclusion import Kind
from appliance.domain.learning import Evidence, Key


@dataclass(frozen=True, slots=True)
class Judgement:
    """``missing``: what stands against an exclusion, in words; empty when the evidence is complete."""

    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.missing


def judge(key: Key, evidence: Evidence, rules: Learning, veto: str) -> Judgement:
    """``veto``: why this host cannot be excluded at all; empty when nothing stands against it."""
    missing = [f"cannot be excluded: {veto}"] if veto else []
    if (clients := at_least(evidence.clients)) < rules.clients:
        trusting = "" if key.kind is Kind.MTLS else " that trust our CA elsewhere"
        missing.append(f"{clients} of {rules.clients} clients{trusting}")
    if evidence.failures < rules.failures:
        missing.append(f"{evidence.failures} of {rules.failures} failed handshakes")
    if evidence.last - evidence.first < rules.spread:
        missing.append(f"within {evidence.last - evidence.first:.0f} s, not spread over {rules.spread:.0f} s")
    if evidence.accepted_here:
        missing.append(f"the same fingerprint succeeded here, for {evidence.accepted_here} clients")
    return Judgement(tuple(missing))


def at_least(clients: Iterable[str]) -> int:
    """As few as these can be. One machine may have an IPv4 address, IPv6 networks of each scope, and a person who signs in
    some of the time: only those of one kind are different for certain."""
    return max(Counter(map(_kind, clients)).values(), default=0)


def _kind(client: str) -> str:
    if client.startswith("user:"):
        return "user"
    network = ipaddress.ip_network(client)
    if network.version == 4:
        return "ipv4"
    return "link-local" if network.is_link_local else "private" if network.is_private else "global"


def reason(key: Key, evidence: Evidence) -> str:
    """One sentence for records and pages."""
    number = f"{evidence.failures} handshakes of {len(evidence.clients)} clients"
    if key.kind is Kind.MTLS:
        return f"the server asks for a client certificate: {number} failed"
    return f"pinned: {number} that trust our CA elsewhere refused our certificate"
