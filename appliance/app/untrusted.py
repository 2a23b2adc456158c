"""Forward-untrust CAs: those whose leaves show a client that a server's certificate is bad. No client trusts one."""

from appliance.app.paths import StatePaths
from appliance.config.interception import TlsInterception
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from appliance.domain.ids import TenantId
from certs.authority import Authority, PublicAuthority, load_or_create, load_public

COMMON_NAME = "Not trusted: the certificate of this site is bad"
LEAF_TTL = 3600.0
"""Seconds that one of their leaves is remembered."""


def by_tenant(config: AppConfig) -> dict[TenantId, str]:
    """The name of the CA of each tenant whose matrix may need one."""
    auditors = {auditor.name: auditor.tls_interception or TlsInterception() for auditor in config.auditor}
    matrices = {TenantId(each.tenant_id): auditors[each.auditor].upstream_certificates for each in config.tenant}
    return {tenant: matrix.untrusted_ca for tenant, matrix in matrices.items() if matrix.uses("untrusted_ca")}


def authorities(config: AppConfig) -> list[Authority]:
    """Those of the configuration, with their keys; made when absent. Raises ConfigError when one cannot be used."""
    home = StatePaths(config.state_dir).untrusted_ca
    return [load_or_create(home, name, COMMON_NAME) for name in sorted(set(by_tenant(config).values()))]


def public_authorities(config: AppConfig) -> dict[str, PublicAuthority]:
    """By name, without their keys. Raises ConfigError when one cannot be used."""
    paths = StatePaths(config.state_dir)
    names = sorted(set(by_tenant(config).values()))
    return {name: load_public(name, paths.untrusted_certificate(name), SystemClock()) for name in names}
