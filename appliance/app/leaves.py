"""Where one worker's leaves come from: who signs them, what is shared with other nodes, what is remembered here."""

from collections.abc import Mapping

from addons.overlap import Overlap
from appliance.app import rotation
from appliance.app.keys import Signers, public_authorities
from appliance.app.paths import StatePaths
from appliance.app.ready_clients import ReadyClients
from appliance.app.shared_leaves import SharedTier
from appliance.app.verdicts import SealedTier
from appliance.app.withdrawals import Withdrawals
from appliance.config.ca import Ca
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.domain.ids import TenantId
from appliance.telemetry.health import HealthWriter
from appliance.telemetry.metrics import Metrics
from certs.authority import PublicAuthority
from certs.cache import LeafCache
from certs.generations import Generation
from certs.room import Room


class Leaves:
    """Raises ConfigError: a CA that cannot be used."""

    def __init__(self, config: AppConfig, metrics: Metrics, clock: Clock) -> None:
        self._config, self._metrics, self._clock = config, metrics, clock
        self.authorities = public_authorities(config)
        """The CAs that sign now, by name."""
        self.signers = Signers(config, metrics, clock)
        self._shared = SharedTier(config, metrics, clock)
        self._withdrawals = Withdrawals()
        self.by_tenant = self._caches(self.authorities)
        self.same_key = self._same_key()

    def verdicts(self) -> SealedTier | None:
        """The tier for the verdicts of scans, in the same store."""
        return self._shared.verdicts()

    def overlap(self, beside: rotation.Others, probe: str, ready: ReadyClients) -> Overlap | None:
        """Who is served by a CA that will follow; see ``rotation.overlap``."""
        upcoming = {name: found[Generation.NEXT] for name, found in beside.items() if Generation.NEXT in found}
        return rotation.overlap(self._config, self._caches(upcoming), probe, ready)

    def start(self) -> None:
        """Connect to whom it takes before the first client comes."""
        self.signers.start()
        self._shared.start()

    def sample(self, health: HealthWriter) -> None:
        """For the heartbeat."""
        self.signers.sample(health)
        self._shared.sample(health)
        trouble = self._withdrawals.sample(health)
        self._metrics.set("arcus_file_unreadable", "revoked", value=int(bool(trouble)))

    async def close(self) -> None:
        await self._shared.close()
        await self.signers.close()

    def _caches(self, authorities: Mapping[str, PublicAuthority]) -> dict[TenantId, LeafCache]:
        """One for each tenant of these CAs (by name)."""
        made = (self._of_ca(ca, authorities[ca.name]) for ca in self._config.ca if ca.name in authorities)
        return {tenant: cache for caches in made for tenant, cache in caches.items()}

    def _of_ca(self, ca: Ca, authority: PublicAuthority) -> dict[TenantId, LeafCache]:
        withdrawn = self._withdrawals.of(StatePaths(self._config.state_dir).pki, authority.fingerprint)
        signer = self._shared.around(self.signers.by_ca[ca.name], ca, authority, withdrawn)
        room, ttl = Room(ca.leaf_cache_size), ca.leaf_cache_ttl
        return {
            tenant: LeafCache(authority, room, ttl, self._clock, tenant=tenant, signer=signer, withdrawn=withdrawn)
            for tenant in (TenantId(each.tenant_id) for each in self._config.tenant if each.ca == ca.name)
        }

    def _same_key(self) -> frozenset[TenantId]:
        """The tenants whose leaves follow the origin's kind of key."""
        following = {ca.name for ca in self._config.ca if ca.leaf_key == "origin"}
        return frozenset(TenantId(tenant.tenant_id) for tenant in self._config.tenant if tenant.ca in following)
