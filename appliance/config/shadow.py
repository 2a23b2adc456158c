"""Decryption rules that can never match, because one rule before them matches all that they would."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from appliance.config.decrypt_rule import DecryptRule
from appliance.config.document import Path
from appliance.config.host_list import HostList
from appliance.config.view import View
from appliance.domain.hostmatch import HostMatcher, domain_matcher

MAX_COMPARED: Final = 50_000
"""Entries of one rule that are looked up in another's: beyond it, only rules with the same lists are compared."""
_NOWHERE: Final = "no-such-label-in-any-list"


def warn_of_shadows(view: View) -> None:
    lists = {node.name: node for _, node in view.each("host_list")}
    for path, auditor in view.each("auditor"):
        if auditor.tls_interception is not None:
            _warn(view, (*path, "tls_interception", "rules"), auditor.tls_interception.rules, lists)


def _warn(view: View, path: Path, rules: Sequence[DecryptRule], lists: Mapping[str, HostList]) -> None:
    for index, rule in enumerate(rules):
        first = next((number for number in range(index) if covers(rules[number], rule, lists)), None)
        if first is not None:
            line = view.findings.document.line((*path, first))
            message = f"can never match: rule {rules[first].name!r} at line {line} matches everything that it would"
            view.warn((*path, index), message)


def covers(first: DecryptRule, later: DecryptRule, lists: Mapping[str, HostList]) -> bool:
    """Whether everything that ``later`` matches is decided by ``first``. May say no where only a closer look would say yes."""
    return (
        first.mode == "enforce"
        and first.share >= 1.0
        and all(_within(getattr(later, key), getattr(first, key)) for key in ("ports", "tenants", "users", "groups", "ja3"))
        and (first.sni is None or first.sni == later.sni)
        and (not first.times or first.times == later.times)
        and _fingerprints(later.ja4, first.ja4)
        and _networks(later.networks, first.networks)
        and _learnt(first, later)
        and _hosts(later, first, lists)
    )


def _within(later: Iterable[Any], first: Iterable[Any]) -> bool:
    """A condition that is not given matches everything."""
    wider, narrower = set(first), set(later)
    return not wider or (bool(narrower) and narrower <= wider)


def _fingerprints(later: Sequence[str], first: Sequence[str]) -> bool:
    prefixes = tuple(each[:-1] for each in first if each.endswith("*"))
    return not first or (bool(later) and all(each in first or each.startswith(prefixes) for each in later))


def _networks(later: Sequence[Any], first: Sequence[Any]) -> bool:
    def inside(net: Any) -> bool:
        return any(net.version == wider.version and net.subnet_of(wider) for wider in first)

    return not first or (bool(later) and all(inside(net) for net in later))


def _learnt(first: DecryptRule, later: DecryptRule) -> bool:
    """Conditions that a rule judges by its action: one that splices wants to know, and wants all addresses to match."""
    if first.destinations or first.certificate is not None:
        demanding = first.action == "splice" and later.action != "splice"
        same = first.certificate is None or first.certificate == later.certificate
        return not demanding and same and _networks(later.destinations, first.destinations)
    return True


def _hosts(later: DecryptRule, first: DecryptRule, lists: Mapping[str, HostList]) -> bool:
    if not first.hosts and not first.host_lists:
        return True
    if not later.hosts and not later.host_lists:
        return False
    new = [name for name in later.host_lists if name not in first.host_lists]
    entries = [*later.hosts, *(entry for name in new for entry in _entries(lists, name))]
    if len(entries) > MAX_COMPARED or (new and not all(_entries(lists, name) for name in new)):
        return False
    matcher = domain_matcher([*first.hosts, *(entry for name in first.host_lists for entry in _entries(lists, name))])
    return all(_covered(entry, matcher) for entry in entries)


def _entries(lists: Mapping[str, HostList], name: str) -> Sequence[str]:
    return lists[name].entries if name in lists else ()


def _covered(entry: str, matcher: HostMatcher[bool]) -> bool:
    """A suffix is covered by itself or by a shorter one; a name below it that is in no list shows which."""
    probes = (entry[1:], f"{_NOWHERE}{entry}") if entry.startswith(".") else (entry,)
    return all(matcher.find(probe) is not None for probe in probes)
