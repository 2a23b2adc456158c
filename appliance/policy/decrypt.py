"""The decryption rules: intercept, splice or block a TLS connection. Apart from the access rules, which judge requests."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from appliance.config.auditor import Auditor
from appliance.config.interception import DecryptRule, TlsInterception
from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.facts import ClientFacts
from appliance.domain.hostmatch import HostMatcher, NetworkMap, domain_matcher

MEMO_SIZE: Final = 8192

NO_INTERCEPTION: Final = TlsDecision(TlsAction.SPLICE, "no_interception")

_STRICTNESS: Final = {TlsAction.SPLICE: 0, TlsAction.INTERCEPT: 1, TlsAction.BLOCK: 2}


@dataclass(frozen=True, slots=True)
class _Rule:
    """A condition that is None is not given."""

    decision: TlsDecision
    hosts: HostMatcher[bool] | None
    ports: frozenset[int] | None
    networks: NetworkMap[bool] | None
    users: frozenset[str] | None

    def holds(self, name: str, port: int, user: str, ip: str) -> bool:
        return (
            (self.ports is None or port in self.ports)
            and (self.users is None or user in self.users)
            and (self.hosts is None or self.hosts.find(name) is not None)
            and (self.networks is None or self.networks.longest(ip) is not None)
        )


class DecryptPolicy:
    """Pure: the same arguments have the same answer. Immutable, apart from a memory of its own answers."""

    __slots__ = ("_default", "_memory", "_rules", "_shorts", "_uses_ip")

    def __init__(self, interception: TlsInterception | None) -> None:
        """None: nothing is decrypted."""
        config = interception or TlsInterception()
        self._rules = tuple(_compile(rule) for rule in config.rules) if interception else ()
        self._shorts = _short_lists(config) if interception else HostMatcher[TlsAction]()
        self._default = TlsDecision(TlsAction(config.default_action)) if interception else NO_INTERCEPTION
        self._uses_ip = any(rule.networks is not None for rule in self._rules)
        self._memory = lru_cache(maxsize=MEMO_SIZE)(self._judge)

    @classmethod
    def compile(cls, auditor: Auditor) -> "DecryptPolicy":
        return cls(auditor.tls_interception)

    def decide(self, client: ClientFacts, names: tuple[str, ...], port: int, user: str = "") -> TlsDecision:
        """The answer for a connection that claims ``names``: its SNI, CONNECT host or original destination.

        Each name is judged on its own and the strictest answer counts (block, then intercept, then splice): with an
        exempt name in the SNI and another in the CONNECT, a client would choose for itself not to be inspected.
        """
        ip = client.ip if self._uses_ip else ""
        if len(names) == 1:
            return self._memory(names[0], port, user, ip)
        answers = [self._memory(name, port, user, ip) for name in names or ("",)]
        return max(answers, key=lambda answer: _STRICTNESS[answer.action])

    def _judge(self, name: str, port: int, user: str, ip: str) -> TlsDecision:
        for rule in self._rules:
            if rule.holds(name, port, user, ip):
                return rule.decision
        short = self._shorts.find(name)
        return TlsDecision(short.value, f"{short.value.value}_list", str(short)) if short else self._default


def _compile(rule: DecryptRule) -> _Rule:
    return _Rule(
        TlsDecision(TlsAction(rule.action), rule.name, rule.reason),
        domain_matcher(rule.hosts) if rule.hosts else None,
        frozenset(rule.ports) if rule.ports else None,
        NetworkMap((network, True) for network in rule.networks) if rule.networks else None,
        frozenset(rule.users) if rule.users else None,
    )


def _short_lists(config: TlsInterception) -> HostMatcher[TlsAction]:
    """Both lists as one: the closest entry counts, and of two equal ones that which blocks."""
    pairs = [*_pairs(config.block, TlsAction.BLOCK), *_pairs(config.splice, TlsAction.SPLICE)]
    return HostMatcher(
        exact=[(name, action) for name, action in pairs if not name.startswith(".")],
        child=[(name[1:], action) for name, action in pairs if name.startswith(".")],
    )


def _pairs(names: Iterable[str], action: TlsAction) -> list[tuple[str, TlsAction]]:
    return [(name, action) for name in names]
