"""Which hosts are spliced that no rule names: the shipped list, the tenants' own, and what was learned."""

import tomllib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final

from appliance.config.decrypt_rule import DecryptRule
from appliance.config.exclusions import ExclusionConfig
from appliance.config.interception import TlsInterception
from appliance.config.tenant import Policy, Tenant
from appliance.domain.decision import TlsAction
from appliance.domain.exclusion import Learned
from appliance.domain.hostmatch import HostMatcher, domain_matcher
from appliance.domain.ids import TenantId
from appliance.policy.conditions import host_matcher
from appliance.policy.decrypt_rule import Lists

SHIPPED: Final = "shipped_exclusions.toml"
ASKER_SECONDS: Final = 3600.0
ASKERS: Final = 1000
"""Servers that asked for a client certificate, remembered by one worker for so long."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """An entry of the shipped list."""

    host: str
    group: str
    reason: str


@dataclass(frozen=True, slots=True)
class Excluded:
    """What an exclusion says about one connection: spliced, or intercepted this once to see whether it works again."""

    action: TlsAction
    rule: str
    text: str


@cache
def shipped() -> tuple[Shipped, ...]:
    """The list that comes with this package."""
    groups = tomllib.loads(files("appliance.policy").joinpath(SHIPPED).read_text("utf-8"))
    return tuple(Shipped(host, name, group["reason"]) for name, group in groups.items() for host in group["hosts"])


class Veto:
    """Why a host of a tenant cannot be excluded by a list or by learning: a rule is about it, or it is listed under ``never``.

    A relayed connection has no path and no method that an access rule could look at.
    """

    def __init__(self, tenant: Tenant, interception: TlsInterception, lists: Lists) -> None:
        self._never = domain_matcher(interception.exclusions.never)
        self._access = [(policy.name, _reach(policy)) for policy in tenant.policies if _stops(policy)]
        self._decrypt = [
            (rule.name, hosts) for rule in interception.rules if _holds_back(rule, tenant) for hosts in _hosts(rule, lists)
        ]
        self._block = domain_matcher(interception.block)

    def why(self, host: str) -> str:
        """In words; empty when nothing stands against it."""
        if self._never.find(host):
            return "it is listed under never"
        if self._block.find(host):
            return "it is listed under block"
        for name, hosts in self._decrypt:
            if hosts.find(host):
                return f"decryption rule {name} is about it"
        for name, reach in self._access:
            if reach is None or reach.find(host):
                return f"access policy {name} looks into it"
        return ""


def _holds_back(rule: DecryptRule, tenant: Tenant) -> bool:
    enforced = rule.mode == "enforce" and rule.action != "splice"
    return enforced and (not rule.tenants or tenant.tenant_id in rule.tenants)


def _hosts(rule: DecryptRule, lists: Lists) -> list[HostMatcher[bool]]:
    return [*([domain_matcher(rule.hosts)] if rule.hosts else []), *(lists[name] for name in rule.host_lists)]


def _stops(policy: Policy) -> bool:
    enforced = policy.enabled and policy.mode == "enforce" and policy.config.action != "allow"
    return enforced and (_inside(policy) or bool(host_matcher(policy.config.hosts)))


def _inside(policy: Policy) -> bool:
    return bool(policy.config.path_regex or policy.config.methods)


def _reach(policy: Policy) -> HostMatcher[bool] | None:
    """None: every host, for a policy on paths or methods that names none."""
    return host_matcher(policy.config.hosts) or None


class TenantExclusions:
    """The fixed part, for one tenant."""

    def __init__(self, tenant: Tenant, interception: TlsInterception, lists: Lists) -> None:
        config = interception.exclusions
        self.veto = Veto(tenant, interception, lists)
        self.never = domain_matcher(config.never)
        self.splices_askers = interception.on_client_certificate == "splice"
        self._own = [(domain_matcher([entry.host]), entry, _end(entry.until)) for entry in config.hosts]
        self._shipped = _shipped_matcher(config)

    def find(self, host: str, now: float) -> Excluded | None:
        """The tenant's own entries hold unless ``never`` says otherwise; a shipped one gives way to any rule as well."""
        for matcher, entry, end in self._own:
            if now < end and matcher.find(host) and not self.never.find(host):
                return Excluded(TlsAction.SPLICE, f"exclusion:{entry.host}", entry.reason)
        match = self._shipped.find(host)
        if match is None or self.veto.why(host):
            return None
        return Excluded(TlsAction.SPLICE, f"exclusion:shipped:{match.value.group}", match.value.reason)


def _shipped_matcher(config: ExclusionConfig) -> HostMatcher[Shipped]:
    entries = shipped() if config.shipped else ()
    return HostMatcher(
        exact=[(each.host, each) for each in entries if not each.host.startswith(".")],
        child=[(each.host[1:], each) for each in entries if each.host.startswith(".")],
    )


def _end(until: date | None) -> float:
    """The first moment after that day."""
    if until is None:
        return float("inf")
    return (datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=1)).timestamp()


class Exclusions:
    """``draw``: a random number from 0 to 1, for the connections that are tried again."""

    def __init__(self, tenants: Mapping[TenantId, TenantExclusions], draw: Callable[[], float]) -> None:
        self._tenants = tenants
        self._draw = draw
        self._learned: Mapping[tuple[str, str, str], Learned] = {}
        self._askers: OrderedDict[tuple[TenantId, str], float] = OrderedDict()

    def learn(self, entries: Iterable[Learned]) -> None:
        """Replace everything that was learned, at once."""
        self._learned = {(each.tenant, each.host, each.fingerprint): each for each in entries}

    def asked(self, tenant: TenantId, host: str, now: float) -> None:
        """A server asked for a client certificate that there is none for, where ``on_client_certificate`` is ``splice``."""
        self._askers[tenant, host] = now + ASKER_SECONDS
        self._askers.move_to_end((tenant, host))
        if len(self._askers) > ASKERS:
            self._askers.popitem(last=False)

    def __len__(self) -> int:
        return len(self._learned)

    def find(self, tenant: TenantId, host: str, fingerprint: str, now: float) -> Excluded | None:
        """The exclusion of ``host`` for a client of ``tenant`` with this JA4; None when there is none."""
        fixed = self._tenants.get(tenant)
        if fixed is None:
            return None
        found = fixed.find(host, now)
        if found is not None:
            return found
        if fixed.splices_askers and now < self._askers.get((tenant, host), 0.0) and not fixed.veto.why(host):
            return Excluded(TlsAction.SPLICE, "exclusion:on_client_certificate", "the server asks for a client certificate")
        if not self._learned:
            return None
        entry = self._entry(tenant, host, fingerprint, now)
        if entry is None or fixed.veto.why(host):
            return None
        if entry.retest and self._draw() * entry.retest < 1.0:
            return Excluded(TlsAction.INTERCEPT, f"exclusion:{entry.id}:retest", "tried again: one of some is decrypted")
        return Excluded(TlsAction.SPLICE, f"exclusion:{entry.id}", f"{entry.reason} (/exclusions/{entry.id})")

    def _entry(self, tenant: TenantId, host: str, fingerprint: str, now: float) -> Learned | None:
        for key in ((tenant, host, fingerprint), (tenant, host, "")):
            entry = self._learned.get(key)
            if entry is not None and now < entry.until:
                return entry
        return None


def compile_exclusions(
    tenants: Iterable[Tenant],
    interceptions: Mapping[str, TlsInterception | None],
    lists: Lists,
    draw: Callable[[], float],
) -> Exclusions:
    """``interceptions`` by name of the auditor; None where nothing is decrypted. ``lists``: the host lists, by name."""
    fixed = {
        TenantId(tenant.tenant_id): TenantExclusions(tenant, interception, lists)
        for tenant in tenants
        if (interception := interceptions[tenant.auditor]) is not None
    }
    return Exclusions(fixed, draw)
