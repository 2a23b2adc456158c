"""The graph of ways out: every name resolves, nothing goes round in circles, no path is deeper than a bound.

Pure, and asked twice: by the loader, which names file and line, and by the escaper registry, which trusts nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from appliance.config.escaper import Escaper, RouteRule, RouteUpstream
from appliance.config.root import AppConfig

MAX_DEPTH: Final = 16
"""Escapers on one path, the leaf included."""


def escaper_edges(nodes: Iterable[Escaper]) -> dict[str, tuple[str, ...]]:
    """For each escaper the names it may hand a task to, in the order of the configuration; none for a leaf."""
    return {node.name: _next_names(node) for node in nodes}


def _next_names(node: Escaper) -> tuple[str, ...]:
    if not isinstance(node, RouteUpstream):
        return ()
    return tuple(dict.fromkeys([*(rule.next for rule in node.rules), node.fallback_next]))


def graph_problems(edges: Mapping[str, Sequence[str]], max_depth: int = MAX_DEPTH, what: str = "escaper") -> list[str]:
    """What is wrong with a graph, as sentences; empty when nothing is. Each cycle is told once."""
    problems = [
        f"{what} {name!r} leads to {target!r}, which is not defined"
        for name, targets in edges.items()
        for target in targets
        if target not in edges
    ]
    walk = _Walk(edges, max_depth, problems, what)
    for name in edges:
        walk.height(name, ())
    return problems


class _Walk:
    """Depth first; the height of each finished node is kept, so the work is linear in the edges."""

    def __init__(self, edges: Mapping[str, Sequence[str]], max_depth: int, problems: list[str], what: str) -> None:
        self._edges, self._max_depth, self._problems, self._what = edges, max_depth, problems, what
        self._heights: dict[str, int] = {}

    def height(self, name: str, trail: tuple[str, ...]) -> int:
        """Nodes on the longest path from here. Recursion ends at ``max_depth``, whatever the graph is."""
        if name in trail:
            cycle = " -> ".join([*trail[trail.index(name) :], name])
            return self._fail(f"{self._what}s go round in circles: {cycle}")
        known = self._heights.get(name)
        if len(trail) + (known or 1) > self._max_depth:
            path = " -> ".join([*trail[:3], "...", name])
            return self._fail(f"more than {self._max_depth} {self._what}s on one path: {path}")
        if known is None:
            below = (self.height(target, (*trail, name)) for target in self._edges.get(name, ()) if target in self._edges)
            known = self._heights[name] = 1 + max(below, default=0)
        return known

    def _fail(self, problem: str) -> int:
        self._problems.append(problem)
        return 0


def mermaid(config: AppConfig) -> str:
    """Servers, tenants and escapers as a Mermaid flow chart. Names stand in quoted labels; ids are numbers of ours."""
    lines = ["flowchart LR"]
    lines += [f'  s{index}(["{each.name}<br/>{each.type} {each.listen.address}"])' for index, each in enumerate(config.server)]
    lines += [f'  t{index}["tenant {tenant.tenant_id}"]' for index, tenant in enumerate(config.tenant)]
    ids = {node.name: f"e{index}" for index, node in enumerate(config.escaper)}
    lines += [f"  {ids[node.name]}{_shape(node)}" for node in config.escaper]
    lines += _tenant_arrows(config, ids)
    for node in config.escaper:
        lines += _escaper_arrows(node, ids)
    return "\n".join(lines) + "\n"


def _shape(node: Escaper) -> str:
    label = f"{node.name}<br/>{node.type}"
    return f'{{{{"{label}"}}}}' if isinstance(node, RouteUpstream) else f'["{label}"]'


def _tenant_arrows(config: AppConfig, ids: Mapping[str, str]) -> list[str]:
    arrows: dict[str, None] = {}
    for index, tenant in enumerate(config.tenant):
        for number, server in enumerate(config.server):
            if server.tenant_context is not None and server.tenant_context.tenant_id != tenant.tenant_id:
                continue
            arrows[f"  s{number} --> t{index}"] = None
            if root := tenant.escaper or server.escaper:
                arrows[f"  t{index} --> {ids[root]}"] = None
    return list(arrows)


def _escaper_arrows(node: Escaper, ids: Mapping[str, str]) -> list[str]:
    if not isinstance(node, RouteUpstream):
        return []
    arrows = [f'  {ids[node.name]} -- "{_label(rule)}" --> {ids[rule.next]}' for rule in node.rules]
    return [*arrows, f'  {ids[node.name]} -- "otherwise" --> {ids[node.fallback_next]}']


def _label(rule: RouteRule) -> str:
    text = str(rule.exact_match or rule.child_match or rule.subnet_match or rule.regex_match)
    # a quote would end the label; Mermaid knows entities by number
    text = "".join(f"#{ord(char)};" if char in '#&<>"`' else char for char in text)
    return f"{rule.tenant}: {text}" if rule.tenant else text
