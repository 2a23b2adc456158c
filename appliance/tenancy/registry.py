"""The tenants of one configuration: read by everyone, changed by nobody. A reload makes a new registry."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from appliance.config.server import Server
from appliance.config.tenant import Tenant
from appliance.domain.errors import PolicyError
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a task runs with: the tenant, the name of its user group (None: nobody is asked) and of its way out."""

    tenant: Tenant
    user_group: str | None
    escaper: str


class TenantRegistry:
    """An immutable snapshot. Holding on to one is holding on to one version of the configuration."""

    __slots__ = ("_servers", "_tenants")

    def __init__(self, tenants: Iterable[Tenant], servers: Iterable[Server] = ()) -> None:
        self._tenants = MappingProxyType({TenantId(tenant.tenant_id): tenant for tenant in tenants})
        self._servers = MappingProxyType({server.name: server for server in servers})

    def __contains__(self, tenant_id: object) -> bool:
        return tenant_id in self._tenants

    def __iter__(self) -> Iterator[TenantId]:
        return iter(self._tenants)

    def __len__(self) -> int:
        return len(self._tenants)

    def get(self, tenant_id: TenantId) -> Tenant:
        """Raises PolicyError(NO_TENANT)."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise PolicyError(Reason.NO_TENANT, f"tenant {tenant_id!r} is not configured")
        return tenant

    def user_group(self, tenant_id: TenantId, server: str = "") -> str | None:
        """The listener's user group, else the tenant's; None: nobody is asked. Raises PolicyError(NO_TENANT)."""
        listener = self._servers.get(server)
        return (listener.user_group if listener else None) or self.get(tenant_id).user_group

    def escaper(self, tenant_id: TenantId, server: str = "") -> str:
        """The tenant's escaper, else the listener's, by name.

        Raises:
            PolicyError: NO_TENANT, or NO_ESCAPER when neither has one.
        """
        listener = self._servers.get(server)
        escaper = self.get(tenant_id).escaper or (listener.escaper if listener else None)
        if escaper is None:
            raise PolicyError(Reason.NO_ESCAPER, f"neither tenant {tenant_id!r} nor listener {server!r} names an escaper")
        return escaper

    def load(self, tenant_id: TenantId, server: str = "") -> Loaded:
        """The tenant with its user group and escaper, as seen through the named listener. Raises as ``escaper`` does."""
        return Loaded(self.get(tenant_id), self.user_group(tenant_id, server), self.escaper(tenant_id, server))
