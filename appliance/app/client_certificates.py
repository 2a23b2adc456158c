"""Client certificates, joined: what is loaded for each auditor, for whom, and how long it is good."""

from collections.abc import Iterable

from addons.presenting import OnAsked, Presenting
from appliance.config.interception import TlsInterception
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.domain.ids import TenantId
from appliance.policy.client_certificates import ClientCertificates
from appliance.policy.exclusions import Exclusions
from appliance.telemetry.health import HealthWriter, State
from certs.client_identity import ClientIdentity, load_identity

WARN_SECONDS = 14 * 86_400.0


def presenting(config: AppConfig, exclusions: Exclusions, clock: Clock) -> Presenting:
    """Raises ConfigError: a certificate or key that cannot be used."""
    auditors = {auditor.name: auditor.tls_interception or TlsInterception() for auditor in config.auditor}
    loaded = {name: _loaded(interception) for name, interception in auditors.items()}
    tenants = {TenantId(tenant.tenant_id): tenant.auditor for tenant in config.tenant}
    certificates = {t: ClientCertificates(t, auditors[name].client_certificates) for t, name in tenants.items()}
    identities = {(t, each.name): each for t, name in tenants.items() for each in loaded[name]}
    on_asked: dict[TenantId, OnAsked] = {t: auditors[name].on_client_certificate for t, name in tenants.items()}
    return Presenting(certificates, identities, on_asked, lambda tenant, host: exclusions.asked(tenant, host, clock.now()))


def sample(identities: Iterable[ClientIdentity], health: HealthWriter, now: float) -> None:
    """Say which certificates end soon, or have ended."""
    for each in set(identities):
        left = each.not_after - now
        detail = "has ended" if left <= 0 else f"ends in {left / 86_400:.0f} days" if left < WARN_SECONDS else ""
        health.set(f"client certificate {each.name}", State.DEGRADED if detail else State.OK, detail)


def _loaded(interception: TlsInterception) -> list[ClientIdentity]:
    return [load_identity(node.name, node.certificate, node.private_key) for node in interception.client_certificates]
