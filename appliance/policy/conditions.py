"""The conditions of one access policy, prepared: all that are given must hold."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance.config.tenant import HostSet, PolicyConfig
from appliance.domain.facts import UserFacts
from appliance.domain.hostmatch import HostMatcher, check_pattern
from appliance.policy.path import spellings


@dataclass(frozen=True, slots=True)
class Question:
    """One name of one request. ``method`` and ``path`` are empty where they are not known, as for a tunnel."""

    host: str
    port: int
    user: UserFacts | None = None
    method: str = ""
    path: str = ""


type _Holds = Callable[[Question], bool]


class Conditions:
    """``every_spelling``: the path condition holds only when each spelling of the path matches; otherwise one is enough.

    A rule that allows asks for every spelling, a rule that stops for one: disguise never helps.
    """

    __slots__ = ("_checks", "path", "uses_method")

    def __init__(self, config: PolicyConfig, *, every_spelling: bool) -> None:
        self.uses_method = bool(config.methods)
        self.path = _path(config.path_regex, every_spelling)
        """The condition on the path by itself; None when there is none. Never holds for a path that is not known."""
        given = (
            ("ports", _member(config.ports, lambda question: question.port)),
            ("users", _member(config.users, lambda question: question.user and question.user.name)),
            ("groups", _member(config.groups, lambda question: question.user and question.user.group)),
            ("methods", _member([name.upper() for name in config.methods], lambda question: question.method.upper())),
            ("hosts", _hosts(config.hosts)),
            ("path_regex", self.path),
        )
        self._checks: tuple[tuple[str, _Holds], ...] = tuple((name, holds) for name, holds in given if holds)

    def failing(self, question: Question) -> str:
        """The name of the first condition that does not hold; empty when all hold."""
        for name, holds in self._checks:
            if not holds(question):
                return name
        return ""


def _member(values: Iterable[object], of: Callable[[Question], object]) -> _Holds | None:
    allowed = frozenset(values)
    return (lambda question: of(question) in allowed) if allowed else None


def _hosts(config: HostSet) -> _Holds | None:
    matcher = host_matcher(config)
    return (lambda question: matcher.find(question.host) is not None) if matcher else None


def host_matcher(config: HostSet) -> HostMatcher[bool]:
    """``.suffix`` means the same in ``exact`` as in ``child``: the name and everything below it."""
    exact, child = named_hosts(config)
    return HostMatcher(
        exact=[(name, True) for name in exact],
        child=[(name, True) for name in child],
        networks=[(network, True) for network in config.networks],
        regex=[(pattern, True) for pattern in config.regex],
    )


def named_hosts(config: HostSet) -> tuple[list[str], list[str]]:
    """The names that stand for themselves, and those that stand for everything below them, without a leading dot."""
    exact = [name for name in config.exact if not name.startswith(".")]
    below = [name for name in config.exact if name.startswith(".")]
    return exact, [name.removeprefix(".") for name in (*below, *config.child)]


def _path(patterns: Iterable[str], every_spelling: bool) -> _Holds | None:
    compiled = [check_pattern(pattern) for pattern in patterns]
    together = all if every_spelling else any

    def holds(question: Question) -> bool:
        if not question.path:
            return False
        return together(any(pattern.search(text) for pattern in compiled) for text in spellings(question.path))

    return holds if compiled else None
