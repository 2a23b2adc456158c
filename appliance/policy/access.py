"""The access policy: tenant, then user, then site; the first answer other than "allowed" is the answer.

Within a level the rules are asked by priority, then by name. A rule that allows ends its level, not the others.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from appliance.config.tenant import Tenant
from appliance.config.users import UserGroup
from appliance.domain.decision import ALLOW, Action, Decision
from appliance.domain.errors import ConfigError, Problem
from appliance.domain.facts import RequestFacts, UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason
from appliance.policy.conditions import Question
from appliance.policy.rule import Rule, compile_rule, site_key

MEMO_SIZE: Final = 4096
"""Decisions remembered per tenant; about 2 MB when full."""

PORT_FILTER: Final = "dst_port_filter"
MONITOR: Final = "monitor: would "
"""Before the action of a rule that is not enforced, in place of the condition that does not hold."""
HOST_FILTER: Final = "dst_host_filter_set"

_NO_TENANT: Final = Decision(Action.BLOCK, Reason.NO_TENANT, "no_tenant", "tenant", applied=("no_tenant",))
_SUSPENDED: Final = Decision(Action.BLOCK, Reason.TENANT_SUSPENDED, "tenant_status", "tenant", applied=("tenant_status",))


@dataclass(frozen=True, slots=True)
class Step:
    """One policy that was asked about one name. ``skipped`` names the condition that did not hold; then it said nothing."""

    host: str
    level: str
    policy: str
    decision: Decision | None
    skipped: str = ""


type _Asked = tuple[str, str, str, Decision | None, str]
"""The members of a ``Step``."""


class AccessPolicy:
    """Pure: the same facts have the same decision. Immutable, apart from a memory of its own answers."""

    __slots__ = ("_tenants",)

    def __init__(self, tenants: Mapping[TenantId, "_TenantPolicy"]) -> None:
        self._tenants = dict(tenants)

    @classmethod
    def compile(cls, tenants: Iterable[Tenant], user_groups: Iterable[UserGroup]) -> "AccessPolicy":
        """Raises ConfigError: an unsafe redirect URL, or a group that does not exist, so that the rule would never apply."""
        groups = frozenset(group.name for group in user_groups)
        tenants = list(tenants)
        if problems := [problem for tenant in tenants for problem in _unknown_groups(tenant, groups)]:
            raise ConfigError(problems)
        return cls({TenantId(tenant.tenant_id): _TenantPolicy(tenant) for tenant in tenants})

    def decide(self, facts: RequestFacts) -> Decision:
        """The decision on each name that the request claims: the first that is not allowed, in the order of ``facts.names``."""
        policy = self._tenants.get(facts.tenant)
        return _NO_TENANT if policy is None else policy.decide(facts)

    def explain(self, facts: RequestFacts) -> tuple[Step, ...]:
        """Every policy asked, in order, up to the one that decides. The same code as ``decide`` runs."""
        policy = self._tenants.get(facts.tenant)
        return (Step("", "tenant", "no_tenant", _NO_TENANT),) if policy is None else tuple(policy.explain(facts))


def _unknown_groups(tenant: Tenant, groups: frozenset[str]) -> Iterator[Problem]:
    for policy in tenant.policies:
        for group in policy.config.groups:
            if group not in groups:
                path = f"tenant[{tenant.tenant_id}].policies[{policy.name}].config.groups"
                yield Problem(f"user group {group!r} is not defined, so this policy would never apply", path)


class _TenantPolicy:
    """The rules of one tenant.

    A decision depends on one name, port, user, and on method and path where rules ask for them; these are the key of
    the memory. Paths are not remembered: they are many, long, and chosen by the client.
    """

    __slots__ = (
        "_allowed", "_id", "_memory", "_paths", "_site_rules", "_sites", "_suspended", "_tenant_rules", "_user_rules",
        "_uses_method",
    )  # fmt: skip

    def __init__(self, tenant: Tenant) -> None:
        enabled = (policy for policy in tenant.policies if policy.enabled)
        rules = sorted((compile_rule(tenant, policy, at) for at, policy in enumerate(enabled)), key=_order)
        self._id = tenant.tenant_id
        self._suspended = tenant.status == "suspended"
        self._tenant_rules = tuple(rule for rule in rules if rule.level == "tenant")
        self._user_rules = tuple(rule for rule in rules if rule.level == "user")
        self._sites = _by_site(rule for rule in rules if rule.level == "site")
        self._uses_method = any(rule.conditions.uses_method for rule in rules)
        self._paths = tuple(rule.conditions.path for rule in rules if rule.conditions.path is not None)
        self._memory = lru_cache(maxsize=MEMO_SIZE)(self._judge_host)
        self._site_rules = lru_cache(maxsize=MEMO_SIZE)(self._find_site_rules)
        self._allowed = lru_cache(maxsize=MEMO_SIZE)(_allowed)

    def decide(self, facts: RequestFacts) -> Decision:
        names = facts.names
        if len(names) == 1:
            return self._decide(names[0], facts)
        decisions = [self._decide(name, facts) for name in names]
        for decision in decisions:
            if decision.action is not Action.ALLOW:
                return decision
        applied = tuple(dict.fromkeys(name for decision in decisions for name in decision.applied))
        return self._allowed(applied, tuple(dict.fromkeys(text for decision in decisions for text in decision.would)))

    def explain(self, facts: RequestFacts) -> Iterator[Step]:
        for name in facts.names:
            question = Question(name, facts.target.port, facts.user, facts.method, facts.path)
            for host, level, policy, decision, skipped in self._walk(question, trace=True):
                yield Step(host, level, policy, decision, skipped)
                if decision is not None and not decision.allowed:
                    return

    def _decide(self, name: str, facts: RequestFacts) -> Decision:
        if self._paths and facts.path:
            question = Question(name, facts.target.port, facts.user, facts.method, facts.path)
            if any(holds(question) for holds in self._paths):
                return self._judge(question)
        # where no condition on the path holds, the decision is the same as without a path
        return self._memory(name, facts.target.port, facts.user, facts.method if self._uses_method else "")

    def _judge_host(self, name: str, port: int, user: UserFacts | None, method: str) -> Decision:
        return self._judge(Question(name, port, user, method))

    def _judge(self, question: Question) -> Decision:
        applied: list[str] = []
        would: list[str] = []
        for _, _, policy, decision, monitored in self._walk(question):
            if decision is None:
                would.append(f"{policy}: {monitored.removeprefix(MONITOR)}")
                continue
            applied.append(policy)
            if decision.action is not Action.ALLOW:
                return replace(decision, applied=tuple(applied), would=tuple(would))
        return self._allowed(tuple(applied), tuple(would))

    def _walk(self, question: Question, *, trace: bool = False) -> Iterator[_Asked]:
        """The policies that say something, be it in monitor mode; with ``trace``, also those that do not.

        Tuples and one generator: a ``Step`` for each answer and a generator for each level tripled the cost of a decision.
        """
        if self._suspended:
            yield question.host, "tenant", "tenant_status", _SUSPENDED, ""
            return
        levels = ("tenant", self._tenant_rules), ("user", self._user_rules), ("site", self._site_rules(question.host))
        for level, rules in levels:
            if level == "user" and question.user is not None:
                yield from _user_filters(question, question.user)
            for rule in rules:
                if failing := rule.conditions.failing(question):
                    if trace:
                        yield question.host, level, rule.name, None, failing
                    continue
                if rule.monitor:
                    yield question.host, level, rule.name, None, f"{MONITOR}{rule.decide(question).action.value}"
                    continue
                yield question.host, level, rule.name, rule.decide(question), ""
                if rule.ends_level:
                    break

    def _find_site_rules(self, host: str) -> tuple[Rule, ...]:
        found = {rule.order: rule for key in _site_keys(self._id, host) for rule in self._sites.get(key, ())}
        return tuple(rule for _, rule in sorted(found.items()))


def _order(rule: Rule) -> tuple[int, str, int]:
    return rule.order


def _allowed(applied: tuple[str, ...], would: tuple[str, ...]) -> Decision:
    return replace(ALLOW, applied=applied, would=would)


def _user_filters(question: Question, user: UserFacts) -> Iterator[_Asked]:
    if user.dst_ports is not None:
        denied = question.port not in user.dst_ports
        yield _filtered(question, PORT_FILTER, Reason.PORT_DENIED if denied else Reason.OK)
    if user.dst_hosts is not None:
        denied = not reaches(user.dst_hosts, question.host)
        yield _filtered(question, HOST_FILTER, Reason.HOST_DENIED if denied else Reason.OK)


def _filtered(question: Question, name: str, reason: Reason) -> _Asked:
    action = Action.ALLOW if reason is Reason.OK else Action.BLOCK
    return question.host, "user", name, Decision(action, reason, name, "user"), ""


def reaches(allowed: frozenset[str], host: str) -> bool:
    """Whether a normalised host is in a set of ``host`` and ``.suffix`` entries; the suffix itself is."""
    if host in allowed:
        return True
    name = host
    while name:
        if "." + name in allowed:
            return True
        name = name.partition(".")[2]
    return False


def _by_site(rules: Iterable[Rule]) -> dict[str, tuple[Rule, ...]]:
    """Rules by ``tenant:host``; those that no name leads to stand under the empty key."""
    table: dict[str, list[Rule]] = {}
    for rule in rules:
        for key in rule.sites or ("",):
            table.setdefault(key, []).append(rule)
    return {key: tuple(found) for key, found in table.items()}


def _site_keys(tenant_id: str, host: str) -> Iterator[str]:
    yield ""
    yield site_key(tenant_id, host)
    name = host
    while name:
        yield site_key(tenant_id, "." + name)
        name = name.partition(".")[2]
