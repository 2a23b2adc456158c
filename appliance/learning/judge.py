"""Is the evidence enough? Pure: the same evidence has the same answer."""

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from appliance.config.exclusions import Learning
from appliance.domain.exclusion import Kind
from appliance.domain.learning import Evidence, Key

SITES: Final = {4: 24, 6: 48}
"""Bits of an address that tell one site from another (RFC 6177 for IPv6)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``missing``: what stands against an exclusion, in words; empty when the evidence is complete."""

    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.missing


def judge(key: Key, evidence: Evidence, rules: Learning, veto: str, spent: Collection[str] = ()) -> Judgement:
    """``veto``: why this host cannot be excluded at all; empty when nothing stands against it. ``spent``: clients that have
    contributed to as many exclusions as one may."""
    missing = [f"cannot be excluded: {veto}"] if veto else []
    fresh = [client for client in evidence.clients if client not in spent]
    if (clients := at_least(fresh)) < rules.clients:
        trusting = "" if key.kind is Kind.MTLS else " that trust our CA elsewhere"
        busy = len(evidence.clients) - len(fresh)
        beside = f", beside {busy} that stand in the evidence of {rules.per_client} others" if busy else ""
        missing.append(f"{clients} of {rules.clients} clients{trusting}{beside}")
    if evidence.failures < rules.failures:
        missing.append(f"{evidence.failures} of {rules.failures} failed handshakes")
    if evidence.last - evidence.first < rules.spread:
        missing.append(f"within {evidence.last - evidence.first:.0f} s, not spread over {rules.spread:.0f} s")
    if evidence.accepted_here:
        missing.append(f"the same fingerprint succeeded here, for {evidence.accepted_here} clients")
    return Judgement(tuple(missing))


def doubts(key: Key, evidence: Evidence, rules: Learning) -> tuple[str, ...]:
    """Why complete evidence is not enough to exclude at once: it could all be one hand's work. For a person to judge."""
    found = []
    users, networks = independent(evidence.clients)
    if users < rules.clients and networks < rules.networks:
        found.append(f"clients of {networks} of {rules.networks} networks, and {users} of {rules.clients} users")
    if key.kind is Kind.PINNED and rules.common and evidence.program_hosts >= rules.common:
        found.append(f"a general program: it accepts our certificate at {evidence.program_hosts} hosts")
    return tuple(found)


def independent(clients: Collection[str]) -> tuple[int, int]:
    """How many users, and how many networks: an IPv4 /24 and an IPv6 /48 are what one household or site has at most. A network
    of one kind only is counted, for a machine can be in one of each."""
    users = {client for client in clients if client.startswith("user:")}
    sites = {(_kind(client), _site(client)) for client in clients if client not in users}
    return len(users), max(Counter(kind for kind, _ in sites).values(), default=0)


def _site(client: str) -> str:
    network = ipaddress.ip_network(client)
    return str(network.supernet(new_prefix=SITES[network.version]))


def at_least(clients: Iterable[str]) -> int:
    """As few as these can be. One machine may have an IPv4 address, IPv6 networks of each scope, and a person who signs in
    some of the time: only those of one kind are different for certain."""
    return max(Counter(map(_kind, clients)).values(), default=0)


def _kind(client: str) -> str:
    if client.startswith("user:"):
        return "user"
    network = ipaddress.ip_network(client)
    if network.version == 4:
        return "ipv4"
    return "link-local" if network.is_link_local else "private" if network.is_private else "global"


def reason(key: Key, evidence: Evidence) -> str:
    """One sentence for records and pages."""
    number = f"{evidence.failures} handshakes of {len(evidence.clients)} clients"
    if key.kind is Kind.MTLS:
        return f"the server asks for a client certificate: {number} failed"
    return f"pinned: {number} that trust our CA elsewhere refused our certificate"
