"""Hosts that are not decrypted although no rule says so: ``auditor.tls_interception.exclusions``."""

from datetime import date
from typing import Literal

from pydantic import Field

from appliance.config.values import Domain, Node, Seconds


class ExcludedHost(Node):
    """One host of a tenant that is not decrypted."""

    host: Domain
    """``host`` or ``.suffix``; SNI and CONNECT host must both be excluded."""
    reason: str = Field(min_length=1)
    """Why; stands in the audit record."""
    until: date | None = None
    """The last day (UTC) that it holds for; absent: for good."""


class Learning(Node):
    """What happens when clients refuse our certificate for a host, although they trust our CA elsewhere, or when a server asks
    for a client certificate that there is none for. One client alone can earn nothing here; see docs/exclusions.md."""

    mode: Literal["off", "propose", "apply"] = "propose"
    """off: nothing is learned. propose: a person decides. apply: an exclusion holds as soon as the evidence is complete."""
    clients: int = Field(3, ge=1, le=1000)
    """Different clients that must have been refused: users where they sign in, else addresses, an IPv6 /64 counting as one."""
    failures: int = Field(5, ge=1, le=1000)
    """Handshakes of those clients that must have failed."""
    period: Seconds = 86_400.0
    """The time within which those failures count."""
    spread: Seconds = 600.0
    """The time that must lie between the first and the last of them."""
    ttl: Seconds = 604_800.0
    """How long an exclusion holds; then the evidence must be complete once more."""
    retest: int = Field(100, ge=0, le=1_000_000)
    """One of so many excluded connections is decrypted all the same, to see whether it works again; 0: none."""
    networks: int = Field(2, ge=1, le=1000)
    """For `apply`: the networks (an IPv4 /24, an IPv6 /48) that those clients must be in, unless as many users as ``clients``
    have signed in. With fewer, it is proposed."""
    common: int = Field(50, ge=0, le=100_000)
    """For `apply`: a program whose likes have accepted our certificate at so many hosts is a general one, such as a browser;
    for it, an exclusion is proposed and never holds at once. 0: no program is too common."""
    per_client: int = Field(20, ge=1, le=10_000)
    """A client that stands in the evidence of so many proposals and exclusions counts for no further one."""
    max_entries: int = Field(100, ge=1, le=10_000)
    """Proposals and exclusions that a tenant can have at one time."""


class ExclusionConfig(Node):
    """Asked where no decryption rule and no short list decides; never stronger than those, or than an access rule."""

    shipped: bool = True
    """Use the list that comes with Arcus: operating system updates and app stores whose clients are known to accept one
    certificate only. `arcus exclusion list --shipped` shows it."""
    hosts: list[ExcludedHost] = []
    """The tenants' own list."""
    never: list[Domain] = []
    """Hosts that are not excluded, whatever the shipped list says and clients do."""
    learn: Learning = Learning()
    """Exclusions from experience."""
