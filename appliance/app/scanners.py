"""The ICAP services of one worker: what each tenant's traffic is scanned by, and how the services are."""

from collections.abc import Iterable

from addons.scanning import Scanning
from appliance.app.icap_services import IcapServices, Place, Told
from appliance.app.own_server import own_server
from appliance.app.verdicts import Verdicts
from appliance.config.auditor import Auditor
from appliance.config.icap_graph import METHODS
from appliance.config.root import AppConfig
from appliance.domain.ids import TenantId
from appliance.policy.scan_rules import DIRECTIONS, Direction, Lists, ScanRules
from appliance.telemetry.health import HealthWriter
from appliance.telemetry.health import State as HealthState
from icap.client import IcapService, Service
from icap.client.standing import State


class Scanners:
    """One service for each name, and for each auditor and URI, whichever tenants and directions share it."""

    def __init__(
        self,
        config: AppConfig,
        lists: Lists,
        told: Told,
        place: Place = Place(),  # noqa: B008 - it is frozen
        verdicts: Verdicts | None = None,
    ) -> None:
        self._own = own_server(config)
        self._services = IcapServices(config, told, place, verdicts, self._own)
        auditors = {auditor.name: self._scanning(auditor, lists) for auditor in config.auditor}
        self.by_tenant = {TenantId(tenant.tenant_id): auditors[tenant.auditor] for tenant in config.tenant}
        self.clients = self._services.clients

    async def start(self) -> None:
        """Begin to check the services, so that the first message need not wait for it."""
        if self._own is not None:
            await self._own.start()
        for client in self.clients:
            client.start()

    def sample(self, health: HealthWriter) -> None:
        """For the heartbeat. Two auditors may have a service of the same name; the worse is told."""
        for name, client in sorted(_worst(self.clients).items()):
            standing = client.standing
            up = standing.state is State.UP
            health.set(f"icap {name}", HealthState.OK if up else HealthState.DEGRADED, standing.detail)

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        if self._own is not None:
            await self._own.close()

    def _scanning(self, auditor: Auditor, lists: Lists) -> Scanning:
        rules = ScanRules.compile(auditor, lists)
        services = {(use, each): self._service(auditor, use, each) for each in DIRECTIONS for use in sorted(rules.uses(each))}
        return Scanning(auditor, rules, services)

    def _service(self, auditor: Auditor, use: str, direction: Direction) -> Service:
        if use in (auditor.icap_reqmod_service, auditor.icap_respmod_service):
            return self._services.short(auditor, use)
        return self._services.named(use, METHODS[direction])


def _worst(clients: Iterable[IcapService]) -> dict[str, IcapService]:
    """By name: of those that share one, the first that is not up."""
    found: dict[str, IcapService] = {}
    for client in clients:
        known = found.setdefault(client.name, client)
        if known.standing.state is State.UP:
            found[client.name] = client
    return found
