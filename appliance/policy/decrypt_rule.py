"""One decryption rule, compiled: its conditions, what is cheap to ask first."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from appliance.config.decrypt_rule import DecryptRule
from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.hostmatch import HostMatcher, NetworkMap, domain_matcher
from appliance.domain.tls_facts import Need, TlsFacts
from appliance.policy.certificate import CertificateConditions
from appliance.policy.staging import among
from appliance.policy.windows import Windows

type Lists = Mapping[str, HostMatcher[bool]]
"""Host lists by name."""
type _Holds = Callable[[TlsFacts, str], bool | Need | None]
"""Of one name: whether the condition holds, what must be learnt first, or None where it cannot be learnt."""

DYNAMIC: Final = frozenset({"destinations", "times", "certificate"})
"""Conditions on what changes between two connections that are otherwise the same."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule said. ``skipped`` names the condition that does not hold; ``unknown`` those that could not be judged."""

    rule: "Rule"
    need: Need | None = None
    skipped: str = ""
    unknown: tuple[str, ...] = ()
    outside: bool = False
    """All holds, but the client is not in the rule's share."""

    @property
    def decides(self) -> bool:
        return self.need is None and not self.skipped and not self.outside and not self.rule.monitor


@dataclass(frozen=True, slots=True)
class Rule:
    decision: TlsDecision
    monitor: bool
    share: float
    checks: tuple[tuple[str, _Holds], ...] = field(compare=False)

    @property
    def name(self) -> str:
        return self.decision.rule

    @property
    def share_text(self) -> str:
        return f"{self.share * 100:.6g}%"

    @property
    def dynamic(self) -> bool:
        return any(condition in DYNAMIC for condition, _ in self.checks)

    def uses(self, *conditions: str) -> bool:
        return any(condition in conditions for condition, _ in self.checks)

    def possible(self, facts: TlsFacts, name: str) -> bool:
        """Whether all conditions hold that are the same for the next connection of this kind."""
        return all(holds(facts, name) for condition, holds in self.checks if condition not in DYNAMIC)

    def ask(self, facts: TlsFacts, name: str) -> Asked:
        """Whether the rule holds for this name of the connection."""
        unknown: tuple[str, ...] = ()
        for condition, holds in self.checks:
            answer = holds(facts, name)
            if isinstance(answer, Need):
                return Asked(self, need=answer)
            # to relay without looking, one must know; to look, or to refuse, not to know is enough
            if answer is False or (answer is None and self.decision.action is TlsAction.SPLICE):
                return Asked(self, skipped=condition if answer is False else f"{condition} not known")
            if answer is None:
                unknown = (*unknown, condition)
        inside = among(self.share, self.name, facts.client.ip, facts.user)
        return Asked(self, unknown=unknown, outside=not inside)


def compile_rule(config: DecryptRule, lists: Lists) -> Rule:
    """Raises KeyError: a host list that does not exist (the loader has checked the names)."""
    given: tuple[tuple[str, _Holds | None], ...] = (
        ("ports", _member(config.ports, lambda facts: facts.port)),
        ("tenants", _member(config.tenants, lambda facts: facts.tenant)),
        ("users", _member(config.users, lambda facts: facts.user and facts.user.name)),
        ("groups", _member(config.groups, lambda facts: facts.user and facts.user.group)),
        ("sni", _sni(config.sni)),
        ("ja3", _member(config.ja3, lambda facts: facts.hello.ja3)),
        ("ja4", _ja4(config.ja4)),
        ("networks", _networks(config)),
        ("hosts", _hosts(config, lists)),
        ("times", _times(config)),
        ("destinations", _destinations(config)),
        ("certificate", _certificate(config)),
    )
    checks = tuple((condition, holds) for condition, holds in given if holds is not None)
    decision = TlsDecision(TlsAction(config.action), config.name, config.reason, page=config.page)
    return Rule(decision, config.mode == "monitor", config.share, checks)


def _member(values: Iterable[object], of: Callable[[TlsFacts], object]) -> _Holds | None:
    allowed = frozenset(values)
    return (lambda facts, _: of(facts) in allowed) if allowed else None


def _sni(wanted: str | None) -> _Holds | None:
    return None if wanted is None else lambda facts, _: bool(facts.hello.sni) is (wanted == "present")


def _ja4(patterns: Iterable[str]) -> _Holds | None:
    exact = frozenset(each for each in patterns if not each.endswith("*"))
    prefixes = tuple(each[:-1] for each in patterns if each.endswith("*"))
    if not exact and not prefixes:
        return None
    return lambda facts, _: bool(facts.hello.ja4) and (facts.hello.ja4 in exact or facts.hello.ja4.startswith(prefixes))


def _networks(config: DecryptRule) -> _Holds | None:
    table = NetworkMap((network, True) for network in config.networks)
    return (lambda facts, _: table.longest(facts.client.ip) is not None) if table else None


def _hosts(config: DecryptRule, lists: Lists) -> _Holds | None:
    matchers = [domain_matcher(config.hosts)] if config.hosts else []
    matchers += [lists[name] for name in config.host_lists]
    return (lambda _, name: any(matcher.find(name) is not None for matcher in matchers)) if matchers else None


def _times(config: DecryptRule) -> _Holds | None:
    windows = Windows(config.times)
    return (lambda facts, _: windows.holds(facts.now)) if config.times else None


def _destinations(config: DecryptRule) -> _Holds | None:
    table = NetworkMap((network, True) for network in config.destinations)
    enough = all if config.action == "splice" else any

    def holds(facts: TlsFacts, _: str) -> bool | Need | None:
        if facts.addresses is None:
            return Need.ADDRESSES
        return enough(table.longest(ip) is not None for ip in facts.addresses) if facts.addresses else None

    return holds if table else None


def _certificate(config: DecryptRule) -> _Holds | None:
    if config.certificate is None:
        return None
    conditions = CertificateConditions(config.certificate)
    return lambda facts, _: Need.CERTIFICATE if facts.upstream is None else conditions.hold(facts.upstream)
