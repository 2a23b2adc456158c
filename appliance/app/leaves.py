"""Where one worker's leaves come from: who signs them, what is shared with other nodes, what is remembered here."""

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


class Leaves:
    """Raises ConfigError: a CA that cannot be used."""

    def __init__(self, config: AppConfig, metrics: Metrics, clock: Clock) -> None:
        self._config, self._metrics, self._clock = config, metrics, clock
        self.authorities = public_authorities(config)
        """The CAs that sign now, by name."""
        self.signers = Signers(config, metrics, clock)
        self._shared = SharedTier(config, metrics, clock)
        self._withdrawals = Withdrawals()
        self.by_ca = {ca.name: self._cache(ca, self.authorities[ca.name]) for ca in config.ca}
        self.by_tenant = {TenantId(tenant.tenant_id): self.by_ca[tenant.ca] for tenant in config.tenant}
        self.same_key = self._same_key()

    def verdicts(self) -> SealedTier | None:
        """The tier for the verdicts of scans, in the same store."""
        return self._shared.verdicts()

    def overlap(self, beside: rotation.Others, probe: str, ready: ReadyClients) -> Overlap | None:
        """Who is served by a CA that will follow; see ``rotation.overlap``."""
        upcoming = {ca.name: (ca, found) for ca in self._config.ca if (found := beside[ca.name].get(Generation.NEXT))}
        caches = {name: self._cache(ca, found) for name, (ca, found) in upcoming.items()}
        return rotation.overlap(self._config, caches, probe, ready)

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

    def _cache(self, ca: Ca, authority: PublicAuthority) -> LeafCache:
        withdrawn = self._withdrawals.of(StatePaths(self._config.state_dir).pki, authority.fingerprint)
        signer = self._shared.around(self.signers.by_ca[ca.name], ca, authority, withdrawn)
        return LeafCache(authority, ca.leaf_cache_size, ca.leaf_cache_ttl, self._clock, signer=signer, withdrawn=withdrawn)

    def _same_key(self) -> frozenset[TenantId]:
        """The tenants whose leaves follow the origin's kind of key."""
        following = {ca.name for ca in self._config.ca if ca.leaf_key == "origin"}
        return frozenset(TenantId(tenant.tenant_id) for tenant in self._config.tenant if tenant.ca in following)
