"""Connections to servers that one worker keeps for their clients, from the configuration."""

import resource
from collections.abc import Mapping

from appliance.config.auditor import Auditor
from appliance.domain.clock import Clock
from appliance.domain.ids import TenantId
from appliance.engine.idle_servers import CAPACITY, IdleServers, Keeping, Stands


def idle_servers(auditors: Mapping[TenantId, Auditor], stands: Stands, clock: Clock) -> IdleServers:
    """``auditors``: each tenant's. One that does not decrypt, or does not keep, has nothing here."""
    settings: dict[TenantId, Keeping] = {}
    for tenant, auditor in auditors.items():
        interception = auditor.tls_interception
        if interception is not None and (kept := interception.kept_connections).enabled:
            settings[tenant] = Keeping(kept.idle, kept.max_age, kept.per_client)
    return IdleServers(settings, stands, clock, capacity(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))


def capacity(descriptors: int) -> int:
    """How many a worker keeps that may have so many files open: what waits for clients must not keep clients out."""
    if descriptors == resource.RLIM_INFINITY:
        return CAPACITY
    return max(1, min(CAPACITY, descriptors // 8))
