"""From what is known of a connection to its tenant: one table of methods, asked from the top.

The order puts what the client cannot choose before what it can: the listener it reached, the header of a proxy that we
trust, its own address; only then the name it asks for, which any client can write as it likes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.config.server import Server
from appliance.config.tenant import Tenant
from appliance.domain.facts import ClientFacts
from appliance.domain.hostmatch import HostMatcher, Match, NetworkMap
from appliance.domain.ids import TenantId
from appliance.domain.target import normalise_host

METHODS = ("listener", "header", "network", "name", "default")
"""The methods in the order in which they are asked. These words stand in the audit record."""

DEFAULT_TENANT = TenantId("default")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A tenant and how it was found. ``ignored_claim``: an X-Tenant-ID was sent, and did not count."""

    tenant_id: TenantId
    method: str
    detail: str
    ignored_claim: bool = False


@dataclass(frozen=True, slots=True)
class _Question:
    client: ClientFacts
    claimed: str
    names: Sequence[str]
    listener_tenant: str


type _Answer = tuple[str, str] | None
"""A tenant's id and what led to it; None when the method has nothing to say."""


class TenantResolver:
    """Pure: the answer depends on the configuration and the arguments, nothing else. Immutable."""

    def __init__(self, tenants: Iterable[Tenant], servers: Iterable[Server] = ()) -> None:
        tenants = list(tenants)
        self._known = frozenset(tenant.tenant_id for tenant in tenants)
        self._networks = NetworkMap((net, tenant.tenant_id) for tenant in tenants for net in tenant.match.networks)
        self._names = _name_matcher(tenants)
        self._listeners = {server.name: server.tenant_context.tenant_id for server in servers if server.tenant_context}
        asked = (_by_listener, _by_header, self._by_network, self._by_name, self._by_default)
        self._table = tuple(zip(METHODS, asked, strict=True))

    def resolve(
        self, client: ClientFacts, claimed: str = "", names: Sequence[str] = (), listener_tenant: str = ""
    ) -> Resolved | None:
        """The tenant, or None: the client is refused.

        ``claimed`` is the value of X-Tenant-ID, ``names`` the SNI and destination names in the order they were learnt;
        the first that belongs to a tenant counts. ``listener_tenant`` overrides the listener's own ``tenant_context``.
        A method that names a tenant which does not exist refuses: the next method would hand the traffic, and its
        audit records, to somebody else.
        """
        claimed = claimed.strip(" \t")
        question = _Question(client, claimed, names, listener_tenant or self._listeners.get(client.server, ""))
        for method, ask in self._table:
            if (answer := ask(question)) is not None:
                return self._resolved(question, method, *answer)
        return None

    def _resolved(self, question: _Question, method: str, tenant_id: str, detail: str) -> Resolved | None:
        if tenant_id not in self._known:
            return None
        honoured = question.client.trusted_peer and question.claimed == tenant_id
        return Resolved(TenantId(tenant_id), method, detail, bool(question.claimed) and not honoured)

    def _by_network(self, question: _Question) -> _Answer:
        return _answer(self._networks.longest(question.client.ip))

    def _by_name(self, question: _Question) -> _Answer:
        return next((found for name in question.names if (found := _answer(self._find_name(name)))), None)

    def _find_name(self, name: str) -> Match[str] | None:
        try:
            return self._names.find(normalise_host(name))
        except ValueError:
            return None  # no host name, so no tenant's name

    def _by_default(self, _question: _Question) -> _Answer:
        return (DEFAULT_TENANT, "") if DEFAULT_TENANT in self._known else None


def _by_listener(question: _Question) -> _Answer:
    return (question.listener_tenant, question.client.server) if question.listener_tenant else None


def _by_header(question: _Question) -> _Answer:
    # Any client can write X-Tenant-ID; only a peer in the listener's trusted_proxies has set it on our behalf.
    return (question.claimed, "x-tenant-id") if question.claimed and question.client.trusted_peer else None


def _answer(match: Match[str] | None) -> _Answer:
    return (match.value, str(match)) if match else None


def _name_matcher(tenants: Sequence[Tenant]) -> HostMatcher[str]:
    pairs = [(domain, tenant.tenant_id) for tenant in tenants for domain in tenant.match.sni]
    return HostMatcher(
        exact=[(domain, tenant_id) for domain, tenant_id in pairs if not domain.startswith(".")],
        child=[(domain[1:], tenant_id) for domain, tenant_id in pairs if domain.startswith(".")],
    )
