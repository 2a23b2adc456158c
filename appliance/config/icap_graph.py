"""Services, sets, chains and rules: names are one space, each leads to something, nothing goes round in circles, and every
message that a rule could meet has an answer."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from appliance.config.auditor import Auditor
from appliance.config.document import Path
from appliance.config.graph import graph_problems
from appliance.config.icap_rule import NOT_SCANNED, IcapRule
from appliance.config.icap_service import IcapMethod
from appliance.config.messages import missing
from appliance.config.root import AppConfig
from appliance.config.view import View

KINDS: Final = {"icap_service": "service", "icap_set": "set", "icap_chain": "chain"}
METHODS: Final[Mapping[Literal["request", "response"], IcapMethod]] = {"request": "REQMOD", "response": "RESPMOD"}
_MEMBERS: Final = {"icap_set": "services", "icap_chain": "links"}


def check_icap(view: View) -> None:
    known = [name for section in KINDS for name in view.names(section)]
    _one_name_space(view)
    _references(view, known)
    edges = icap_edges(view.config)
    for text in graph_problems({name: [each for each in edges[name] if each in edges] for name in edges}, what="chain"):
        view.error(_line(view, text), text)
        return
    for path, auditor in view.each("auditor"):
        _rules(view, path, auditor, known)
    _unused(view, edges)


def icap_edges(config: AppConfig) -> dict[str, tuple[str, ...]]:
    """For each service, set and chain the names that it leads to, in the order for requests."""
    edges: dict[str, tuple[str, ...]] = {service.name: () for service in config.icap_service}
    edges |= {each.name: tuple(each.services) for each in config.icap_set}
    return edges | {chain.name: tuple(chain.links) for chain in config.icap_chain}


def leaves(config: AppConfig, name: str, method: IcapMethod) -> Iterator[str]:
    """The services below a name that do this method, in the order for requests; of names that exist, without circles."""
    services = {service.name: service for service in config.icap_service}
    edges = icap_edges(config)

    def walk(at: str) -> Iterator[str]:
        if at in services and method in services[at].methods:
            yield at
        for below in edges.get(at, ()):
            yield from walk(below)

    return walk(name)


def _one_name_space(view: View) -> None:
    first: dict[str, str] = {}
    for section, kind in KINDS.items():
        for path, node in view.each(section):
            if node.name == NOT_SCANNED:
                view.error((*path, "name"), f"{NOT_SCANNED!r} stands for no service in rules; choose another name")
            other = first.setdefault(node.name, kind)
            if other != kind:
                view.error((*path, "name"), f"{node.name!r} is the name of a {other} already; rules could mean either")


def _references(view: View, known: list[str]) -> None:
    for section, key in _MEMBERS.items():
        allowed = view.names("icap_service") if section == "icap_set" else known
        what = "ICAP service" if section == "icap_set" else "ICAP service, set or chain"
        for path, node in view.each(section):
            names = getattr(node, key)
            for index, name in enumerate(names):
                if name not in allowed:
                    view.error((*path, key, index), missing(what, name, allowed))
                elif name in names[:index]:
                    view.error((*path, key, index), f"{name!r} is in this {KINDS[section]} twice")


def _line(view: View, text: str) -> Path:
    first = text.rpartition(": ")[2].partition(" -> ")[0]
    return next((path for path, node in view.each("icap_chain") if node.name == first), ("icap_chain",))


def _rules(view: View, path: Path, auditor: Auditor, known: list[str]) -> None:
    for index, rule in enumerate(auditor.icap_rules):
        where = (*path, "icap_rules", index)
        if rule.scans and rule.use not in known:
            view.error((*where, "use"), missing("ICAP service, set or chain", rule.use, [*known, NOT_SCANNED]))
        elif rule.scans:
            _does_it(view, where, rule)
    if not auditor.icap_rules:
        return
    short = {"request": auditor.icap_reqmod_service, "response": auditor.icap_respmod_service}
    for direction in METHODS:
        _to_the_end(view, (*path, "icap_rules"), auditor.icap_rules, direction, short[direction] is not None)


def _does_it(view: View, where: Path, rule: IcapRule) -> None:
    names = icap_edges(view.config)
    for direction, method in METHODS.items():
        if rule.use in names and rule.serves(direction) and not any(leaves(view.config, rule.use, method)):
            other = next(each for each in METHODS if each != direction)
            hint = "" if rule.direction else f"; if that is meant, add direction: {other}"
            view.error((*where, "use"), f"{rule.use!r} does no {method}, which {direction}s need{hint}")


def _to_the_end(view: View, path: Path, rules: list[IcapRule], direction: str, short: bool) -> None:
    """A message that no rule matches would pass without anyone having said so."""
    serving = [(index, rule) for index, rule in enumerate(rules) if rule.serves(direction)]
    last = next((place for place, (_, rule) in enumerate(serving) if rule.unconditional), None)
    if last is None and not short:
        message = f"{direction}s that none of the rules matches go to no service: end with a rule without conditions"
        view.error(path, f"{message} (use: {NOT_SCANNED} passes them, and the audit record says so)")
    for index, rule in serving[last + 1 :] if last is not None else ():
        if rule.direction == direction:
            view.warn((*path, index), f"never asked: rule {serving[last or 0][1].name!r} matches all {direction}s")


def _unused(view: View, edges: Mapping[str, tuple[str, ...]]) -> None:
    used = {rule.use for auditor in view.config.auditor for rule in auditor.icap_rules}
    used |= {name for names in edges.values() for name in names}
    for section, kind in KINDS.items():
        for path, node in view.each(section):
            if node.name not in used:
                view.warn(path, f"this {kind} is never asked: no rule of an auditor leads to it")
