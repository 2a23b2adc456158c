"""How many connections a tenant, and a single client, may hold open.

The counts are those of one worker process: N workers admit up to N times the number, and the kernel spreads the
connections over them. One event loop uses a counter, so nothing is locked.
"""

from collections.abc import Hashable, Iterable

from appliance.config.tenant import Tenant
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason


class Slots[K: Hashable]:
    """Counts what each key holds. A key that holds nothing takes no memory, so invented addresses leave none behind."""

    __slots__ = ("_held", "refused")

    def __init__(self) -> None:
        self._held: dict[K, int] = {}
        self.refused = 0

    def __len__(self) -> int:
        """Keys that hold something."""
        return len(self._held)

    def held(self, key: K) -> int:
        return self._held.get(key, 0)

    def acquire(self, key: K, limit: int | None) -> bool:
        """Take one; False, and nothing taken, when the key holds ``limit`` already. None: no limit."""
        held = self._held.get(key, 0)
        if limit is not None and held >= limit:
            self.refused += 1
            return False
        self._held[key] = held + 1
        return True

    def release(self, key: K) -> None:
        """Give one back. Raises KeyError when the key holds none: a count that drifts down would admit without end."""
        held = self._held[key]
        if held > 1:
            self._held[key] = held - 1
        else:
            del self._held[key]


class ConnectionQuota:
    """Each ``acquire_tenant`` that answers OK is owed exactly one ``release_tenant``."""

    def __init__(self, tenants: Iterable[Tenant]) -> None:
        self._tenant_limits = {TenantId(tenant.tenant_id): tenant.max_connections for tenant in tenants}
        self.tenants = Slots[TenantId]()

    def acquire_tenant(self, tenant_id: TenantId) -> Reason:
        """OK, or RESOURCE_EXHAUSTED: this tenant is at its limit, the others are not. Raises KeyError for an unknown one."""
        admitted = self.tenants.acquire(tenant_id, self._tenant_limits[tenant_id])
        return Reason.OK if admitted else Reason.RESOURCE_EXHAUSTED

    def release_tenant(self, tenant_id: TenantId) -> None:
        self.tenants.release(tenant_id)
