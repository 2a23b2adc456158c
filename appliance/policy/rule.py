"""One access policy of the configuration, compiled."""

from dataclasses import dataclass

from appliance.config.tenant import Policy, Tenant
from appliance.domain.decision import Action, Decision
from appliance.domain.errors import ConfigError, Problem
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.policy.conditions import Conditions, Question, named_hosts
from appliance.policy.location import destination, with_reason

LEVELS = ("tenant", "user", "site")


@dataclass(frozen=True, slots=True)
class Rule:
    """``order`` sorts: priority, name, place in the file."""

    name: str
    level: str
    order: tuple[int, str, int]
    conditions: Conditions
    verdict: Decision
    portal: Target | None
    """Where ``verdict`` redirects to."""
    sites: tuple[str, ...]
    """The keys a site policy is found under; none when it is asked for every host."""
    monitor: bool = False
    """Its answer is noted, not followed."""

    def decide(self, question: Question) -> Decision:
        """What this rule says, once its conditions hold."""
        if self.verdict.action is Action.REQUIRE_AUTH and question.user is not None:
            return Decision(Action.ALLOW, rule=self.verdict.rule, level=self.level)
        if self.portal is not None and self.portal == Target(question.host, question.port):
            # The page that people are sent to is itself behind this rule: another redirect would go round in circles.
            return Decision(Action.BLOCK, Reason.POLICY_BLOCKED, self.verdict.rule, self.level, self.verdict.message)
        return self.verdict

    @property
    def ends_level(self) -> bool:
        return self.verdict.action is Action.ALLOW


def compile_rule(tenant: Tenant, policy: Policy, place: int = 0) -> Rule:
    """``place`` is the last tie-breaker.

    Raises:
        ConfigError: a URL that people cannot safely be sent to.
    """
    level = level_of(policy)
    try:
        verdict = _verdict(policy, level)
        portal = destination(verdict.redirect_url) if verdict.redirect_url else None
    except ValueError as error:
        raise ConfigError([Problem(str(error), f"tenant[{tenant.tenant_id}].policies[{policy.name}]")]) from None
    conditions = Conditions(policy.config, every_spelling=policy.config.action == "allow")
    sites = _sites(tenant, policy) if level == "site" else ()
    return Rule(
        policy.name, level, (policy.priority, policy.name, place), conditions, verdict, portal, sites, policy.mode == "monitor"
    )


def level_of(policy: Policy) -> str:
    """A policy of type ``site`` stands at the site level, whatever ``level`` says."""
    return "site" if policy.policy_type == "site" else policy.level


def _verdict(policy: Policy, level: str) -> Decision:
    config = policy.config
    rule = f"{level}_destination_filter" if policy.policy_type == "destination_filter" else policy.name
    action, reason, url = _outcome(policy)
    if url:
        destination(url)
        url = with_reason(url, reason.word, policy.name)
    return Decision(action, reason, rule, level, config.reason if action is not Action.ALLOW else "", url)


def _outcome(policy: Policy) -> tuple[Action, Reason, str]:
    config = policy.config
    match config.action:
        case "allow":
            return Action.ALLOW, Reason.OK, ""
        case "require_auth":
            return Action.REQUIRE_AUTH, Reason.AUTH_REQUIRED, ""
        case "redirect":
            return Action.REDIRECT, Reason.POLICY_REDIRECTED, config.redirect_url
        case "block":
            # Still a block for whoever reads the record; only the page is somebody else's.
            action = Action.REDIRECT if config.block_page_url else Action.BLOCK
            return action, Reason.POLICY_BLOCKED, config.block_page_url


def _sites(tenant: Tenant, policy: Policy) -> tuple[str, ...]:
    hosts = policy.config.hosts
    if hosts.networks or hosts.regex:
        return ()  # cannot be looked up by name: asked for every host
    exact, child = named_hosts(hosts)
    return tuple(site_key(tenant.tenant_id, name) for name in (*exact, *("." + name for name in child)))


def site_key(tenant_id: str, host: str) -> str:
    """``tenant:host``, or ``tenant:.host`` for a host and everything below it."""
    return f"{tenant_id}:{host}"
