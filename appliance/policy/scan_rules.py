"""Which service a message goes to: an auditor's rules, compiled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from appliance.config.auditor import Auditor
from appliance.config.icap_rule import IcapRule
from appliance.domain.hostmatch import HostMatcher, domain_matcher

type Direction = Literal["request", "response"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("request", "response")
type Lists = Mapping[str, HostMatcher[bool]]
"""Host lists by name."""


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """What is known of a message before its body is here. ``method`` and ``host`` are the request's."""

    method: str
    host: str
    content_type: str = ""
    """In lower case, without parameters."""
    length: int | None = None
    """Bytes of the body, where the message states it."""


@dataclass(frozen=True, slots=True)
class ScanRoute:
    """``use``: a service, set or chain by name, or a service's URI; empty: not scanned, because ``why``."""

    use: str
    why: str

    @property
    def not_scanned(self) -> str:
        return "" if self.use else self.why


NO_SERVICE = ScanRoute("", "no_service")


@dataclass(frozen=True, slots=True)
class _Rule:
    route: ScanRoute
    holds: tuple[Callable[[MessageFacts], bool], ...]


class ScanRules:
    """The rules of one auditor: the first that matches, else the short form's service, else none."""

    def __init__(self, rules: Mapping[Direction, Sequence[_Rule]], otherwise: Mapping[Direction, ScanRoute]) -> None:
        self._rules = rules
        self._otherwise = otherwise
        self._scanned = {direction: self.uses(direction) for direction in DIRECTIONS}

    @classmethod
    def compile(cls, auditor: Auditor, lists: Lists) -> "ScanRules":
        rules = {each: [_compiled(rule, lists) for rule in auditor.icap_rules if rule.serves(each)] for each in DIRECTIONS}
        return cls(rules, {"request": _short(auditor.icap_reqmod_service), "response": _short(auditor.icap_respmod_service)})

    def choose(self, direction: Direction, facts: Callable[[], MessageFacts]) -> ScanRoute:
        """``facts`` is asked only when a rule wants to know."""
        known: MessageFacts | None = None
        for rule in self._rules[direction]:
            if rule.holds and known is None:
                known = facts()
            if known is None or all(holds(known) for holds in rule.holds):
                return rule.route
        return self._otherwise[direction]

    def uses(self, direction: Direction) -> frozenset[str]:
        """All that messages of this direction may go to."""
        routes = (*(rule.route for rule in self._rules[direction]), self._otherwise[direction])
        return frozenset(route.use for route in routes if route.use)

    def may_scan(self, direction: Direction) -> bool:
        """Whether some message of this direction goes to a service."""
        return bool(self._scanned[direction])


def _short(uri: str | None) -> ScanRoute:
    return ScanRoute(uri, "auditor") if uri is not None else NO_SERVICE


def _compiled(rule: IcapRule, lists: Lists) -> _Rule:
    route = ScanRoute(rule.use if rule.scans else "", f"rule {rule.name}")
    return _Rule(route, tuple(_conditions(rule, lists)))


def _conditions(rule: IcapRule, lists: Lists) -> list[Callable[[MessageFacts], bool]]:
    found: list[Callable[[MessageFacts], bool]] = []
    if rule.methods:
        methods = frozenset(rule.methods)
        found.append(lambda facts: facts.method in methods)
    if rule.hosts or rule.host_lists:
        matchers = [domain_matcher(rule.hosts), *(lists[name] for name in rule.host_lists)]
        found.append(lambda facts: any(matcher.find(facts.host) is not None for matcher in matchers))
    if rule.content_types:
        exact, families = frozenset(rule.content_types), tuple(each[:-1] for each in rule.content_types if each.endswith("/*"))
        found.append(lambda facts: facts.content_type in exact or facts.content_type.startswith(families))
    found += _sizes(rule)
    return found


def _sizes(rule: IcapRule) -> list[Callable[[MessageFacts], bool]]:
    """A length that is not stated is any length for a rule that scans, and none for one that lets pass."""
    more, less, unknown = rule.larger_than, rule.smaller_than, rule.scans
    found: list[Callable[[MessageFacts], bool]] = []
    if more is not None:
        found.append(lambda facts: unknown if facts.length is None else facts.length > more)
    if less is not None:
        found.append(lambda facts: unknown if facts.length is None else facts.length < less)
    return found
