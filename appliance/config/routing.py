"""From listener to way out: each tenant has one on each listener, and may use every escaper that it can come to."""

from collections.abc import Iterator
from typing import Any

from appliance.config.document import Path
from appliance.config.escaper import Escaper, RouteUpstream
from appliance.config.graph import escaper_edges, graph_problems
from appliance.config.server import Server
from appliance.config.tenant import Tenant
from appliance.config.view import View


def check_routing(view: View) -> None:
    _graph(view)
    nodes = {node.name: node for node in view.config.escaper}
    for path, tenant in view.each("tenant"):
        _no_way_out(view, path, tenant)
        for source, root in dict(_roots(view, path, tenant)).items():
            _closed_to(view, source, tenant.tenant_id, root, nodes)
    _rules_never_asked(view)


def _graph(view: View) -> None:
    """Unknown names are told where they stand, by the reference check; here only what needs the whole graph."""
    edges = escaper_edges(view.config.escaper)
    known = {name: tuple(target for target in targets if target in edges) for name, targets in edges.items()}
    for text in graph_problems(known):
        view.error(_line_of_cycle(view, text), text)


def _line_of_cycle(view: View, text: str) -> Path:
    first = text.rpartition(": ")[2].partition(" -> ")[0]
    return next((path for path, node in view.each("escaper") if node.name == first), ("escaper",))


def _serves(server: Server, tenant: Tenant) -> bool:
    return server.tenant_context is None or server.tenant_context.tenant_id == tenant.tenant_id


def _no_way_out(view: View, path: Path, tenant: Tenant) -> None:
    without = [server.name for server in view.config.server if _serves(server, tenant) and server.escaper is None]
    if tenant.escaper is None and without:
        names = ", ".join(without)
        view.error(path, f"no way out on server {names}: give this tenant an escaper, or the server one for tenants without")


def _roots(view: View, path: Path, tenant: Tenant) -> Iterator[tuple[Path, str]]:
    """Where each escaper that this tenant starts from is written."""
    if tenant.escaper is not None:
        yield (*path, "escaper"), tenant.escaper
        return
    for server_path, server in view.each("server"):
        if _serves(server, tenant) and server.escaper is not None:
            yield (*server_path, "escaper"), server.escaper


def _closed_to(view: View, source: Path, tenant: str, root: str, nodes: dict[str, Escaper]) -> None:
    seen: set[str] = set()
    waiting: list[tuple[str, ...]] = [(root,)]
    while waiting:
        trail = waiting.pop()
        node = nodes.get(trail[-1])
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.tenants and tenant not in node.tenants:
            way = f" (by {' -> '.join(trail)})" if len(trail) > 1 else ""
            allowed = ", ".join(node.tenants)
            view.error(source, f"tenant {tenant!r} is routed to escaper {node.name!r}{way}, which is only for: {allowed}")
            continue
        waiting += [(*trail, name) for name in _next_for(node, tenant)]


def _next_for(node: Escaper, tenant: str) -> list[str]:
    if not isinstance(node, RouteUpstream):
        return []
    return [rule.next for rule in node.rules if rule.tenant in (None, tenant)] + [node.fallback_next]


def _rules_never_asked(view: View) -> None:
    for path, node in view.each("escaper"):
        seen: dict[Any, int] = {}
        for index, rule in enumerate(node.rules if isinstance(node, RouteUpstream) else []):
            child = rule.child_match.removeprefix(".") if rule.child_match else None
            key = (rule.tenant, rule.exact_match, child, rule.subnet_match, rule.regex_match)
            if key in seen:
                line = view.findings.document.line((*path, "rules", seen[key]))
                view.warn((*path, "rules", index), f"never used: the rule at line {line} matches the same")
            seen.setdefault(key, index)
