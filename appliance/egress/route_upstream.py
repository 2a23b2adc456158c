"""``route_upstream``: chooses the next escaper by destination."""

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.config.escaper import RouteRule
from appliance.config.escaper import RouteUpstream as RouteUpstreamConfig
from appliance.domain.hostmatch import HostMatcher, Match, NetworkMap
from appliance.domain.target import parse_ip
from appliance.egress.context import EscapeContext
from appliance.egress.escaper import Hop, Identity


class RuleSet:
    """Rules of one scope: exact name, longest parent domain, longest network, regular expressions in order."""

    __slots__ = ("_has_networks", "_names", "_networks", "_regex")

    def __init__(self, rules: Iterable[RouteRule]) -> None:
        rules = list(rules)
        self._names = HostMatcher(
            [(rule.exact_match, rule.next) for rule in rules if rule.exact_match],
            [(rule.child_match.removeprefix("."), rule.next) for rule in rules if rule.child_match],
        )
        self._networks = NetworkMap([(rule.subnet_match, rule.next) for rule in rules if rule.subnet_match])
        self._regex = HostMatcher(regex=[(rule.regex_match, rule.next) for rule in rules if rule.regex_match])
        self._has_networks = bool(self._networks)

    def find(self, host: str, addresses: tuple[str, ...]) -> Match[str] | None:
        """``addresses`` are what ``host`` resolved to; empty when that is not known."""
        return self._names.find(host) or self._find_network(host, addresses) or self._regex.find(host)

    def waits_for_addresses(self, host: str) -> bool:
        """Whether the addresses of this name could decide: a name rule comes before them, a regular expression after."""
        return self._has_networks and self._names.find(host) is None

    def _find_network(self, host: str, addresses: tuple[str, ...]) -> Match[str] | None:
        if not self._has_networks:
            return None
        found = [match for ip in (host, *addresses) if (match := self._networks.longest(ip))]
        return max(found, key=_prefix_length, default=None)


def _prefix_length(match: Match[str]) -> int:
    return int(match.text.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class _Scope:
    label: str
    rules: RuleSet


class RouteUpstream(Identity):
    """The tenant's own rules first, then the rules for all, then ``fallback_next``.

    With a ``resolver``, networks are also matched against the addresses of a name that no name rule decides.
    """

    def __init__(self, config: RouteUpstreamConfig) -> None:
        super().__init__(config.name, config.type, frozenset(config.tenants))
        self._resolver = config.resolver
        self._fallback = Hop(config.fallback_next, f"{config.name}: fallback_next")
        self._global = _Scope("", RuleSet(rule for rule in config.rules if rule.tenant is None))
        self._by_tenant = {
            tenant: _Scope(f"tenant {tenant} ", RuleSet(rule for rule in config.rules if rule.tenant == tenant))
            for tenant in {rule.tenant for rule in config.rules if rule.tenant is not None}
        }

    def next(self, ctx: EscapeContext) -> Hop:
        addresses = ctx.addresses_from(self._resolver)
        for scope in self._scopes(ctx):
            if match := scope.rules.find(ctx.target.host, addresses):
                return Hop(match.value, f"{self.name}: {scope.label}{match}")
        return self._fallback

    def wants(self, ctx: EscapeContext) -> str | None:
        host = ctx.target.host
        if self._resolver is None or ctx.addresses_from(self._resolver) or parse_ip(host):
            return None
        for scope in self._scopes(ctx):
            if scope.rules.waits_for_addresses(host):
                return self._resolver
            if scope.rules.find(host, ()):
                return None
        return None

    def _scopes(self, ctx: EscapeContext) -> Iterable[_Scope]:
        tenant = self._by_tenant.get(ctx.tenant)
        return (tenant, self._global) if tenant else (self._global,)
