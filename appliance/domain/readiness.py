"""Which clients trust a CA, by what they did when they were shown a leaf of it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

FRESH = 14 * 86_400.0
"""Seconds after which a client that has not come again is no longer waited for."""

MEANING: Final = {
    "ready": "has accepted the next CA",
    "refused": "was shown the next CA and refused it",
    "unseen": "has not been shown the next CA",
}
"""The states of a client, in words."""


@dataclass(frozen=True, slots=True)
class Encounter:
    """What is known of one client (its address, in its tenant) and one CA. Times are seconds since the epoch, 0: never."""

    tenant: str
    ip: str
    ca: str
    accepted: float = 0.0
    refused: float = 0.0
    user: str = ""
    agent: str = ""

    @property
    def trusts(self) -> bool:
        """It has asked for something inside TLS, and not refused a certificate of this CA since."""
        return self.accepted > self.refused


@dataclass(frozen=True, slots=True)
class Client:
    """One line of the report. ``state``: ``ready``, ``refused`` (it was shown the next CA), or ``unseen``."""

    tenant: str
    ip: str
    state: str
    seen: float
    user: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """``clients``: those of the last two weeks, who is not ready first."""

    clients: tuple[Client, ...]

    @property
    def ready(self) -> int:
        return sum(client.state == "ready" for client in self.clients)

    @property
    def missing(self) -> tuple[Client, ...]:
        return tuple(client for client in self.clients if client.state != "ready")

    def of(self, tenant: str) -> "Readiness":
        """The same of one of the tenants that share the CA."""
        return Readiness(tuple(client for client in self.clients if client.tenant == tenant))


def readiness(encounters: Iterable[Encounter], current: str, upcoming: str, now: float) -> Readiness:
    """``current`` and ``upcoming``: fingerprints of the CA that signs and of the one that will.

    A client counts when it was met with either within the last two weeks.
    """
    by_client: dict[tuple[str, str], dict[str, Encounter]] = {}
    for each in encounters:
        if each.ca in (current, upcoming):
            by_client.setdefault((each.tenant, each.ip), {})[each.ca] = each
    found = [_client(met, upcoming) for met in by_client.values()]
    fresh = [client for client in found if client.seen > now - FRESH]
    return Readiness(tuple(sorted(fresh, key=lambda client: (client.state == "ready", client.tenant, client.ip))))


def _client(met: Mapping[str, Encounter], upcoming: str) -> Client:
    last = max(met.values(), key=lambda each: max(each.accepted, each.refused))
    shown = met.get(upcoming)
    state = "unseen" if shown is None else "ready" if shown.trusts else "refused"
    return Client(last.tenant, last.ip, state, max(last.accepted, last.refused), last.user, last.agent)
