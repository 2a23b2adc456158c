"""Servers' TLS, from the configuration: whom each tenant believes, what passes all the same, and how that is shown."""

from collections.abc import Callable, Mapping

from addons.aftercare import Aftercare
from addons.tolerance import Matrices
from appliance.app import untrusted
from appliance.app.parts import own_listeners
from appliance.app.paths import StatePaths
from appliance.config.auditor import Auditor
from appliance.config.interception import TlsInterception
from appliance.config.root import AppConfig
from appliance.config.upstream_certificates import UpstreamCertificates
from appliance.config.upstream_tls import LegacyTls, UpstreamTls
from appliance.domain.clock import Clock
from appliance.domain.errors import ConfigError, Problem
from appliance.domain.ids import TenantId
from appliance.egress.fetch import Dial, Fetcher, Resolve
from appliance.egress.guard import EgressGuard, OwnListeners
from appliance.engine.survey import Surveyor
from appliance.policy.proceed import Sealer
from appliance.policy.upstream_certificates import CertAction, CertificateMatrix
from appliance.policy.warning import Warnings
from appliance.storage import secret_file
from appliance.storage.grants import Grants
from certs import public_roots
from certs.authority import PublicAuthority
from certs.cache import LeafCache
from certs.floor import TlsFloor
from certs.issuers import Issuers
from certs.revocation import Modes, Revocation
from certs.room import Room
from certs.signer import Signer
from certs.trust import UpstreamTrust

UNTRUSTED_LEAVES = 500


class Upstream:
    """``authorities``: the CAs of the configuration, none of which is ever believed upstream."""

    def __init__(self, config: AppConfig, authorities: Mapping[str, PublicAuthority], clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._paths = StatePaths(config.state_dir)
        self._auditors = {auditor.name: auditor for auditor in config.auditor}
        self._untrusted = untrusted.public_authorities(config)
        self._own = [*authorities.values(), *self._untrusted.values()]

    def trusts(self) -> dict[TenantId, UpstreamTrust]:
        """Raises TrustError: roots that cannot be loaded; ConfigError: a name that the TLS library does not know."""
        excluded = {identity for each in self._own for identity in each.identities}
        made = {name: _trust(auditor, excluded, self._clock) for name, auditor in self._auditors.items()}
        return self._by_auditor(lambda auditor: made[auditor.name])

    def surveyors(self, trusts: Mapping[TenantId, UpstreamTrust]) -> dict[TenantId, Surveyor]:
        """How each tenant looks at a server before it decides."""
        configs = self._by_auditor(lambda auditor: _interception(auditor).survey)
        return {tenant: Surveyor(trusts[tenant], config) for tenant, config in configs.items()}

    def matrices(self, accepted: Grants) -> Matrices:
        return Matrices(
            self._by_auditor(lambda each: CertificateMatrix(_interception(each).upstream_certificates)),
            accepted,
            self._clock.now,
        )

    def aftercare(self, trusts: Mapping[TenantId, UpstreamTrust], dial: Dial, resolve: Resolve) -> dict[TenantId, Aftercare]:
        """What each tenant finds out after a handshake, by its own way out and in a memory of its own."""
        own = OwnListeners(own_listeners(self._config))
        configs = self._by_auditor(lambda auditor: _interception(auditor).upstream_certificates)
        return {tenant: self._care(trusts[tenant], config, dial, resolve, own) for tenant, config in configs.items()}

    def _care(
        self, trust: UpstreamTrust, config: UpstreamCertificates, dial: Dial, resolve: Resolve, own: OwnListeners
    ) -> Aftercare:
        fetch = config.fetch
        fetcher = Fetcher(dial, resolve, EgressGuard(own, fetch.networks), fetch.timeout, fetch.max_size)
        modes = Modes(**config.revocation.model_dump())
        revocation, issuers = Revocation(modes, self._clock), Issuers(self._clock)
        return Aftercare(trust, issuers, revocation, fetcher.fetch, self._clock, 2 * fetch.timeout)

    def grants(self) -> Grants:
        return Grants(self._paths.grants, self._clock)

    def warnings(self, grants: Grants) -> Warnings:
        """Raises ConfigError: the key of the warnings cannot be used."""
        warns = {
            tenant: matrix.config.warn
            for tenant, matrix in self.matrices(grants).by_tenant.items()
            if matrix.uses(CertAction.WARN)
        }
        return Warnings(warns, self._sealer() if warns else Sealer(bytes(32)), grants, self._clock.now)

    def untrusted_leaves(self, signer: Signer) -> dict[TenantId, LeafCache]:
        """Leaves of the CAs that no client trusts, for each of the tenants that use one."""
        rooms = {name: Room(UNTRUSTED_LEAVES) for name in self._untrusted}
        ttl = untrusted.LEAF_TTL
        return {
            tenant: LeafCache(self._untrusted[name], rooms[name], ttl, self._clock, tenant=tenant, signer=signer)
            for tenant, name in untrusted.by_tenant(self._config).items()
        }

    def _sealer(self) -> Sealer:
        file = self._paths.proceed_key
        try:
            return Sealer(secret_file.ensure(file))
        except (OSError, ValueError) as error:
            raise ConfigError([Problem(f"the key of warning pages cannot be used: {error}", file=str(file))]) from error

    def _by_auditor[T](self, make: Callable[[Auditor], T]) -> dict[TenantId, T]:
        return {TenantId(tenant.tenant_id): make(self._auditors[tenant.auditor]) for tenant in self._config.tenant}


def certificate_matrix(auditor: Auditor) -> CertificateMatrix:
    return CertificateMatrix(_interception(auditor).upstream_certificates)


def _interception(auditor: Auditor) -> TlsInterception:
    return auditor.tls_interception or TlsInterception()


def _trust(auditor: Auditor, excluded: set[str], clock: Clock) -> UpstreamTrust:
    interception = _interception(auditor)
    trust, tls = interception.upstream_trust, interception.upstream_tls
    try:
        return UpstreamTrust(
            list(trust.ca_files),
            trust.system_roots,
            excluded,
            clock,
            strict=trust.strict,
            public=public_roots.fingerprints() if trust.baseline else (),
            distrusted=interception.upstream_certificates.distrusted_keys,
            floor=floor(tls),
            legacy=[(each.hosts, legacy_floor(each, tls)) for each in tls.legacy],
            repairs=interception.upstream_certificates.complete_chains,
        )
    except ValueError as error:
        raise ConfigError([Problem(str(error), f"auditor {auditor.name}: upstream_tls")]) from error


def floor(tls: UpstreamTls) -> TlsFloor:
    """What servers in general have to offer."""
    usual = TlsFloor()
    return TlsFloor(
        tls.min_version,
        usual.ciphers if tls.ciphers is None else tuple(tls.ciphers),
        usual.signatures if tls.signatures is None else tuple(tls.signatures),
        tls.min_rsa_bits,
        tls.min_ec_bits,
    )


def legacy_floor(legacy: LegacyTls, tls: UpstreamTls) -> TlsFloor:
    """What one of the hosts that cannot do better has to offer."""
    usual = floor(tls)
    return TlsFloor(
        legacy.min_version or usual.min_version,
        usual.ciphers if legacy.ciphers is None else tuple(legacy.ciphers),
        usual.signatures,
        legacy.min_rsa_bits or usual.min_rsa_bits,
        legacy.min_ec_bits or usual.min_ec_bits,
        legacy.sha1,
    )
