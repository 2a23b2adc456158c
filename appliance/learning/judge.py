"""Is the evidence enough? Pure: the same evidence has the same answer."""

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
    if len(evidence.clients) < rules.clients:
        trusting = "" if key.kind is Kind.MTLS else " that trust our CA elsewhere"
        missing.append(f"{len(evidence.clients)} of {rules.clients} clients{trusting}")
    if evidence.failures < rules.failures:
        missing.append(f"{evidence.failures} of {rules.failures} failed handshakes")
    if evidence.last - evidence.first < rules.spread:
        missing.append(f"within {evidence.last - evidence.first:.0f} s, not spread over {rules.spread:.0f} s")
    if evidence.accepted_here:
        missing.append(f"the same fingerprint succeeded here, for {evidence.accepted_here} clients")
    return Judgement(tuple(missing))


def reason(key: Key, evidence: Evidence) -> str:
    """One sentence for records and pages."""
    number = f"{evidence.failures} handshakes of {len(evidence.clients)} clients"
    if key.kind is Kind.MTLS:
        return f"the server asks for a client certificate: {number} failed"
    return f"pinned: {number} that trust our CA elsewhere refused our certificate"
