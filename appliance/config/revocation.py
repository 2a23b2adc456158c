"""What is fetched to judge servers' certificates: ``upstream_certificates.revocation`` and ``.fetch``."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.config.values import Network, Node, Seconds, Size

type Mode = Literal["off", "soft", "hard"]


class Revocation(Node):
    """Whether certificates have been taken back. off: not asked. soft: where nothing can be found out, the certificate counts
    as good, and the record says so. hard: it is refused (``revocation_unknown``), unless another way has an answer.
    A revoked certificate is refused either way (``revoked``)."""

    staple: Literal["soft", "hard"] = "soft"
    """The OCSP response that the server sends with its certificate. Certificates that demand one (must-staple) are void
    without it in every mode."""
    ocsp: Mode = "off"
    """Ask the responder that the certificate names."""
    crl: Mode = "off"
    """Fetch the list that the certificate names; asked when OCSP has no answer."""
    intermediates: bool = True
    """Intermediates as well, by ``ocsp`` and ``crl``."""
    max_age: Annotated[Seconds, Field(ge=60, le=7 * 86_400)] = 43_200.0
    """How long an answer is remembered, and no longer than it says itself."""
    failure_ttl: Annotated[Seconds, Field(ge=1, le=86_400)] = 300.0
    """How long it is remembered that there was none."""


class CertificateFetch(Node):
    """Fetching what certificates name: issuers, responses and lists. By the tenant's way out, over plain HTTP."""

    timeout: Annotated[Seconds, Field(gt=0, le=30)] = 4.0
    """One fetch, with its redirects."""
    max_size: Annotated[Size, Field(ge=1024, le=64 * 1024 * 1024)] = 10 * 1024 * 1024
    """The largest answer."""
    networks: list[Network] = []
    """Loopback, private, link-local and metadata addresses are never asked, whatever the way out allows, but for these."""
