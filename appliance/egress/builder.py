"""From configuration nodes to escapers and resolvers."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from appliance.config import escaper as config
from appliance.config.resolver import Resolver as ResolverConfig
from appliance.config.resolver import SystemResolver as SystemResolverConfig
from appliance.domain.clock import Clock
from appliance.domain.errors import Problem
from appliance.egress.direct_fixed import DirectFixed
from appliance.egress.dummy_deny import DummyDeny
from appliance.egress.escaper import Escaper, Router
from appliance.egress.guard import OwnListeners
from appliance.egress.proxy_http import ProxyHttp
from appliance.egress.proxy_https import ProxyHttps
from appliance.egress.proxy_socks5 import ProxySocks5
from appliance.egress.resolver import Lookup, Resolver, SystemResolver
from appliance.egress.route_upstream import RouteUpstream


class Builder:
    """Collects every problem instead of stopping at the first."""

    def __init__(self, own: OwnListeners, clock: Clock, lookup: Lookup, executor: ThreadPoolExecutor) -> None:
        self._own, self._clock, self._lookup, self._executor = own, clock, lookup, executor
        self.default = SystemResolver(SystemResolverConfig(name="system", type="system"), executor, clock, lookup)
        self.problems: list[Problem] = []

    def resolvers(self, nodes: Sequence[ResolverConfig]) -> dict[str, Resolver]:
        return {node.name: SystemResolver(node, self._executor, self._clock, self._lookup) for node in nodes}

    def router(self, node: config.RouteUpstream, resolvers: dict[str, Resolver]) -> Router:
        self._resolver(node, resolvers)
        return RouteUpstream(node)

    def leaf(self, node: config.Escaper, resolvers: dict[str, Resolver]) -> Escaper | None:
        return self._try(f"escaper.{node.name}", lambda: self._leaf(node, resolvers))

    def _leaf(self, node: config.Escaper, resolvers: dict[str, Resolver]) -> Escaper:
        match node:
            case config.DirectFixed():
                return DirectFixed(node, self._resolver(node, resolvers), self._own, self._clock)
            case config.ProxyHttp():
                return ProxyHttp(node, self._resolver(node, resolvers), self._own, self._clock)
            case config.ProxyHttps():
                return ProxyHttps(node, self._resolver(node, resolvers), self._own, self._clock)
            case config.ProxySocks5():
                return ProxySocks5(node, self._resolver(node, resolvers), self._own, self._clock)
            case config.DummyDeny():
                return DummyDeny(node)
            case _:
                raise ValueError(f"type {node.type} is no leaf")

    def _resolver(
        self,
        node: config.DirectFixed | config.ProxyHttp | config.ProxyHttps | config.ProxySocks5 | config.RouteUpstream,
        resolvers: dict[str, Resolver],
    ) -> Resolver:
        if node.resolver is None:
            return self.default
        if node.resolver not in resolvers:
            self.problems.append(Problem(f"resolver {node.resolver!r} is not defined", f"escaper.{node.name}.resolver"))
        return resolvers.get(node.resolver, self.default)

    def _try[T](self, path: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except ValueError as error:
            self.problems.append(Problem(str(error), path))
            return None
