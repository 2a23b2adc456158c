"""The portal, joined: what each tenant's clients are offered."""

from collections.abc import Mapping, Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID

from appliance.config.root import AppConfig
from appliance.config.server import HttpProxy
from appliance.config.tenant import Tenant
from appliance.domain.ids import TenantId
from appliance.portal.anchor import Anchor
from appliance.portal.files import Household
from appliance.portal.names import PortalNames
from appliance.portal.routes import Route
from appliance.portal.site import Site
from certs import export
from certs.authority import PublicAuthority


def anchor(public: PublicAuthority) -> Anchor:
    """A CA as its clients may have it: the certificate, in every form."""
    certificate = public.certificate
    prints = export.fingerprints(public)
    return Anchor(
        name=public.name,
        common_name=_common_name(certificate) or public.name,
        subject=certificate.subject.rfc4514_string(),
        sha256=prints["sha256"],
        sha1=prints["sha1"],
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        pem=export.pem(public),
        der=export.der(public),
        p12=export.p12(public),
        root=certificate.subject == certificate.issuer,
    )


def site(config: AppConfig, offered: Mapping[str, Sequence[PublicAuthority]], mounted: Sequence[Route] = ()) -> Site:
    """``offered``: for each CA of the configuration, the certificates to install, the one that signs now first.

    ``mounted``: pages of other parts on the same name.
    """
    secure = frozenset(server.name for server in config.server if isinstance(server, HttpProxy) and server.tls is not None)
    return Site(PortalNames.of(config.portal), households(config, offered), secure, mounted)


def households(config: AppConfig, offered: Mapping[str, Sequence[PublicAuthority]]) -> dict[TenantId, Household]:
    """What each tenant's clients are offered; a CA that is not in ``offered`` could not be read."""
    anchors = {name: tuple(anchor(public) for public in authorities) for name, authorities in offered.items()}
    return {TenantId(tenant.tenant_id): _household(tenant, anchors.get(tenant.ca, ())) for tenant in config.tenant}


def _household(tenant: Tenant, anchors: tuple[Anchor, ...]) -> Household:
    title = tenant.branding.title or tenant.tenant_name or tenant.tenant_id
    return Household(TenantId(tenant.tenant_id), title, lambda: anchors, tenant.pac, tenant.branding.contact)


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
