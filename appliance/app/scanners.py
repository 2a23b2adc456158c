"""The ICAP services of one worker: what each tenant's traffic is scanned by, and how the services are."""

from collections.abc import Callable, Mapping

from addons.scanning import Scanning
from appliance.config.auditor import Auditor
from appliance.domain.ids import TenantId
from appliance.telemetry.health import HealthWriter, State
from icap.client import IcapService, ServiceEvent


class Scanners:
    """``auditors``: each tenant's. One service for each auditor and URI, whichever tenants and directions share it."""

    def __init__(self, auditors: Mapping[TenantId, Auditor], told: Callable[[ServiceEvent], None]) -> None:
        self._told = told
        self.services: dict[tuple[str, str], IcapService] = {}
        """By name of the auditor and URI."""
        self.by_tenant = {tenant: self._scanning(auditor) for tenant, auditor in auditors.items()}

    def sample(self, health: HealthWriter) -> None:
        """For the heartbeat."""
        for (_, uri), service in self.services.items():
            down = service.stats.suspended
            health.set(f"icap {uri}", State.DEGRADED if down else State.OK, "suspended after failures" if down else "")

    async def close(self) -> None:
        for service in self.services.values():
            await service.close()

    def _scanning(self, auditor: Auditor) -> Scanning:
        reqmod, respmod = auditor.icap_reqmod_service, auditor.icap_respmod_service
        return Scanning(auditor, self._service(auditor, reqmod), self._service(auditor, respmod))

    def _service(self, auditor: Auditor, uri: str | None) -> IcapService | None:
        if uri is None:
            return None
        key = (auditor.name, uri)
        if key not in self.services:
            self.services[key] = IcapService(
                uri,
                connect_timeout=auditor.icap_connect_timeout,
                timeout=auditor.icap_timeout,
                max_connections=auditor.icap_max_connections,
                on_event=self._told,
            )
        return self.services[key]
