"""Matching of hosts and addresses, shared by access rules, decryption rules and routers.

One matcher answers for one rule list: exact names first, then the longest parent domain, then the longest network
prefix (for address literals), then regular expressions in order. The value is whatever the caller attached.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from appliance.domain.target import IPNetwork, parse_ip

_NESTED_REPEAT: Final = re.compile(r"\((?:[^()\\]|\\.)*[+*}](?:[^()\\]|\\.)*\)\s*(?:[+*]|\{\d+,\d*\})")
MAX_PATTERN_LENGTH: Final = 512


def check_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a host pattern, refusing those that can take exponential time.

    Raises:
        ValueError: it does not compile, is longer than 512 characters, or repeats a repeat: ``(a+)+``.
    """
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise ValueError(f"pattern longer than {MAX_PATTERN_LENGTH} characters")
    if _NESTED_REPEAT.search(pattern):
        raise ValueError(f"pattern repeats a repeat, which can take exponential time: {pattern!r}")
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"not a regular expression: {pattern!r} ({error})") from error


@dataclass(frozen=True, slots=True)
class Match[V]:
    """What matched: the kind and text of the rule, and its value."""

    kind: str
    text: str
    value: V

    def __str__(self) -> str:
        return f"{self.kind} {self.text}"


class HostMatcher[V]:
    """Immutable after construction; lookups cost one dictionary access per label of the name."""

    __slots__ = ("_child", "_exact", "_networks", "_regex")

    def __init__(
        self,
        exact: Iterable[tuple[str, V]] = (),
        child: Iterable[tuple[str, V]] = (),
        networks: Iterable[tuple[IPNetwork, V]] = (),
        regex: Iterable[tuple[str, V]] = (),
    ) -> None:
        """Duplicate keys: the first wins. ``child`` names stand without a leading dot. Regexes match the whole host."""
        self._exact = _first_wins((name, Match("exact_match", name, value)) for name, value in exact)
        self._child = _first_wins((name, Match("child_match", name, value)) for name, value in child)
        self._networks = _by_length((net, Match("subnet_match", str(net), value)) for net, value in networks)
        self._regex = [(check_pattern(text), Match("regex_match", text, value)) for text, value in regex]

    def __bool__(self) -> bool:
        return bool(self._exact or self._child or self._networks or self._regex)

    def find(self, host: str) -> Match[V] | None:
        """The best match for a normalised host (see ``domain.target``), or None."""
        return self._exact.get(host) or self._find_child(host) or self._find_network(host) or self._find_regex(host)

    def _find_child(self, host: str) -> Match[V] | None:
        if not self._child:
            return None
        name = host
        while name:
            if found := self._child.get(name):
                return found
            name = name.partition(".")[2]
        return None

    def _find_network(self, host: str) -> Match[V] | None:
        if not self._networks or (address := parse_ip(host)) is None:
            return None
        value = int(address)
        for version, length, table in self._networks:
            if version == address.version and (found := table.get(value >> (address.max_prefixlen - length))):
                return found
        return None

    def _find_regex(self, host: str) -> Match[V] | None:
        return next((match for pattern, match in self._regex if pattern.fullmatch(host)), None)


def _first_wins[K, V](items: Iterable[tuple[K, V]]) -> dict[K, V]:
    table: dict[K, V] = {}
    for key, value in items:
        table.setdefault(key, value)
    return table


def _by_length[V](items: Iterable[tuple[IPNetwork, Match[V]]]) -> list[tuple[int, int, dict[int, Match[V]]]]:
    tables: dict[tuple[int, int], dict[int, Match[V]]] = {}
    for net, match in items:
        key = (net.version, net.prefixlen)
        tables.setdefault(key, {}).setdefault(int(net.network_address) >> (net.max_prefixlen - net.prefixlen), match)
    return [(version, length, table) for (version, length), table in sorted(tables.items(), key=lambda item: -item[0][1])]


class NetworkMap[V](HostMatcher[V]):
    """Longest prefix wins; keys are networks only."""

    def __init__(self, networks: Iterable[tuple[IPNetwork, V]]) -> None:
        super().__init__(networks=networks)

    def longest(self, ip: str) -> Match[V] | None:
        return self._find_network(ip)


def domain_matcher(domains: Iterable[str]) -> HostMatcher[bool]:
    """A set of ``host`` and ``.suffix`` entries; an address literal or network text is matched as such."""
    exact, child, networks = [], [], []
    for domain in domains:
        if domain.startswith("."):
            child.append((domain[1:], True))
        elif "/" in domain:
            networks.append((ipaddress.ip_network(domain), True))
        else:
            exact.append((domain, True))
    return HostMatcher(exact, child, networks)
