"""Names that nodes call each other by: each exists, and none is given twice."""

from collections.abc import Callable, Iterator
from typing import Any

from appliance.config.auditor import Auditor
from appliance.config.document import Path
from appliance.config.escaper import RouteUpstream
from appliance.config.messages import missing
from appliance.config.tenant import Tenant
from appliance.config.view import SECTIONS, View

_WORDS = {"user_group": "user group", "ca": "CA", "host_list": "host list", "icap_service": "ICAP service"}


def check_references(view: View) -> None:
    _duplicates(view)
    for section, references in _REFERENCES.items():
        for path, node in view.each(section):
            for part, target, name in references(node):
                if view.readable(target) and name not in (known := view.names(target)):
                    view.error((*path, *part), missing(_WORDS.get(target, target), name, known))


type _Reference = tuple[Path, str, str]
"""Where in the node, which section is meant, and which name."""


def _plain(node: Any, **targets: str) -> Iterator[_Reference]:
    for key, section in targets.items():
        if (name := getattr(node, key, None)) is not None:
            yield (key,), section, name


def _of_escaper(node: Any) -> Iterator[_Reference]:
    yield from _plain(node, resolver="resolver")
    for index, tenant in enumerate(node.tenants):
        yield ("tenants", index), "tenant", tenant
    if isinstance(node, RouteUpstream):
        yield ("fallback_next",), "escaper", node.fallback_next
        for index, rule in enumerate(node.rules):
            yield from (
                (("rules", index, *part), target, name) for part, target, name in _plain(rule, next="escaper", tenant="tenant")
            )


def _of_auditor(node: Auditor) -> Iterator[_Reference]:
    rules = node.tls_interception.rules if node.tls_interception else []
    for number, rule in enumerate(rules):
        for key, target in (("tenants", "tenant"), ("groups", "user_group"), ("host_lists", "host_list")):
            for index, name in enumerate(getattr(rule, key)):
                yield ("tls_interception", "rules", number, key, index), target, name
    for number, icap_rule in enumerate(node.icap_rules):
        for index, name in enumerate(icap_rule.host_lists):
            yield ("icap_rules", number, "host_lists", index), "host_list", name
    for number, certificate in enumerate(node.tls_interception.client_certificates if node.tls_interception else []):
        for key, target in (("tenants", "tenant"), ("groups", "user_group")):
            for index, name in enumerate(getattr(certificate, key)):
                yield ("tls_interception", "client_certificates", number, key, index), target, name


def _of_tenant(node: Tenant) -> Iterator[_Reference]:
    yield from _plain(node, ca="ca", auditor="auditor", escaper="escaper", user_group="user_group")
    for number, policy in enumerate(node.policies):
        for index, group in enumerate(policy.config.groups):
            yield ("policies", number, "config", "groups", index), "user_group", group


def _of_server(node: Any) -> Iterator[_Reference]:
    yield from _plain(node, escaper="escaper", user_group="user_group")
    if node.tenant_context is not None:
        yield ("tenant_context", "tenant_id"), "tenant", node.tenant_context.tenant_id


_REFERENCES: dict[str, Callable[[Any], Iterator[_Reference]]] = {
    "escaper": _of_escaper,
    "auditor": _of_auditor,
    "tenant": _of_tenant,
    "server": _of_server,
}


def _duplicates(view: View) -> None:
    for section in SECTIONS:
        _twice(view, (section,), view.data.get(section), "tenant_id" if section == "tenant" else "name")
    for section, *inner in (
        ("tenant", "policies"),
        ("user_group", "static_users"),
        ("auditor", "tls_interception", "rules"),
        ("auditor", "icap_rules"),
    ):
        for path, _ in view.each(section):
            node: Any = view.data[section][path[1]]
            for key in inner:
                node = node.get(key) if isinstance(node, dict) else None
            _twice(view, (*path, *inner), node, "name")


def _twice(view: View, path: Path, items: Any, key: str) -> None:
    seen: dict[str, int] = {}
    for index, item in enumerate(items if isinstance(items, list) else []):
        name = item.get(key) if isinstance(item, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            first = view.findings.document.line((*path, seen[name], key))
            view.error((*path, index, key), f"{name!r} is defined twice: first at line {first}")
        seen.setdefault(name, index)
