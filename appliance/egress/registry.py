"""All escapers of one configuration, and the pure choice between them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from appliance.config import escaper as config
from appliance.config.graph import MAX_DEPTH, escaper_edges, graph_problems
from appliance.config.resolver import Resolver as ResolverConfig
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import ConfigError, PolicyError, Problem
from appliance.domain.notes import EscapeNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.builder import Builder
from appliance.egress.context import EscapeContext
from appliance.egress.escaper import Escaper, Router, Stats
from appliance.egress.guard import OwnListeners
from appliance.egress.resolver import THREADS, Lookup, system_lookup


@dataclass(frozen=True, slots=True)
class Choice:
    """``path`` from the root to the leaf; ``rules`` are the texts of the rules that chose, one per router."""

    path: tuple[str, ...]
    rules: tuple[str, ...]
    leaf: Escaper


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of the list of escapers."""

    name: str
    type: str
    tenants: tuple[str, ...]
    next: tuple[str, ...]
    stats: Stats


class Registry:
    """Immutable but for its counters: a new configuration gets a new registry, and tasks under way keep the old one."""

    def __init__(
        self,
        nodes: Sequence[config.Escaper],
        resolvers: Sequence[ResolverConfig],
        own_listeners: Iterable[Target],
        clock: Clock,
        lookup: Lookup = system_lookup,
    ) -> None:
        """Raises ConfigError naming every node that cannot be built."""
        self._edges = escaper_edges(nodes)
        _check(nodes, self._edges)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="resolver")
        build = Builder(OwnListeners(own_listeners), clock, lookup, self._executor)
        self.resolvers = build.resolvers(resolvers)
        self._default_resolver = build.default
        self._leaves: dict[str, Escaper] = {}
        self._routers: dict[str, Router] = {}
        for node in nodes:
            if isinstance(node, config.RouteUpstream):
                self._routers[node.name] = build.router(node, self.resolvers)
            elif leaf := build.leaf(node, self.resolvers):
                self._leaves[node.name] = leaf
        if build.problems:
            self.close()
            raise ConfigError(build.problems)

    @classmethod
    def from_config(
        cls,
        nodes: Sequence[config.Escaper],
        resolvers: Sequence[ResolverConfig],
        own_listeners: Iterable[Target],
        clock: Clock | None = None,
    ) -> "Registry":
        """``own_listeners`` are all addresses the appliance listens on, those of other processes too."""
        return cls(nodes, resolvers, own_listeners, clock or SystemClock())

    def choose(self, name: str, ctx: EscapeContext) -> Choice:
        """Pure: no lookup, no connection, no counter.

        Raises:
            PolicyError: NO_ESCAPER, with the path so far: an unknown name, an escaper that is not for this tenant, or
                more than MAX_DEPTH of them.
        """
        path: list[str] = []
        rules: list[str] = []
        while len(path) < MAX_DEPTH:
            path.append(name)
            node = self._leaves.get(name) or self._routers.get(name)
            if node is None:
                raise _no_escaper(f"escaper {name!r} is not defined", path, rules)
            if node.tenants and ctx.tenant not in node.tenants:
                raise _no_escaper(f"escaper {name!r} is not for tenant {ctx.tenant!r}", path, rules)
            if leaf := self._leaves.get(name):
                return Choice(tuple(path), tuple(rules), leaf)
            hop = self._routers[name].next(ctx)
            rules.append(hop.rule)
            name = hop.name
        raise _no_escaper(f"more than {MAX_DEPTH} escapers on the path", path, rules)

    def wanted(self, name: str, ctx: EscapeContext) -> str | None:
        """The resolver that the first undecided router on the path would ask, or None when the choice stands. Pure."""
        for _ in range(MAX_DEPTH):
            router = self._routers.get(name)
            if router is None:
                return None
            if resolver := router.wants(ctx):
                return resolver
            name = router.next(ctx).name
        return None

    def stats(self, name: str) -> Stats:
        return (self._leaves.get(name) or self._routers[name]).stats

    def queries(self) -> dict[str, Counter[str]]:
        """What each resolver was asked; ``system`` is the one of escapers that name none."""
        return {each.name: each.queries for each in (self._default_resolver, *self.resolvers.values())}

    def summaries(self) -> list[Summary]:
        """Every escaper, in the order of the configuration."""
        nodes = {**self._leaves, **self._routers}
        return [
            Summary(name, nodes[name].type, tuple(sorted(nodes[name].tenants)), targets, nodes[name].stats)
            for name, targets in self._edges.items()
        ]

    def close(self) -> None:
        """Ends the resolver's threads once their lookups return. Nothing may be dialled afterwards."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _no_escaper(detail: str, path: list[str], rules: list[str]) -> PolicyError:
    error = PolicyError(Reason.NO_ESCAPER, detail)
    error.escape = EscapeNotes(path=tuple(path), rules=tuple(rules), error=str(error))
    return error


def _check(nodes: Sequence[config.Escaper], edges: dict[str, tuple[str, ...]]) -> None:
    problems = graph_problems(edges)
    if len(edges) != len(nodes):
        names = [node.name for node in nodes]
        problems += [f"escaper {name!r} is defined twice" for name in edges if names.count(name) > 1]
    if problems:
        raise ConfigError([Problem(text, "escaper") for text in problems])
