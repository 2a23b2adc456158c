"""Going on from a warning: what exactly a person has accepted, and for whom it holds."""

from dataclasses import dataclass

from appliance.domain.ids import TenantId


@dataclass(frozen=True, slots=True)
class Warned:
    """One fault of one certificate, as one client met it. Going on holds for nothing else."""

    tenant: TenantId
    client: str
    """The client's address."""
    user: str
    """Empty without one."""
    host: str
    """The name that the certificate is verified for."""
    port: int
    cause: str
    """The reason word."""
    certificate: str
    """SHA-256 fingerprint of the server's own certificate, hex."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a warning's page needs for its button. ``token`` is secret to the page that it stands in."""

    path: str
    """Where the form is sent, on the site's own origin."""
    token: str
    seconds: float
    """How long going on will hold."""
