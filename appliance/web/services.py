"""What the pages are given to work with; app/admin.py fills it in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from appliance.audit.query.coverage import Ledger
from appliance.audit.query.filter import AuditQuery
from appliance.control.token import Verifier
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.readiness import Readiness
from appliance.portal.files import Household
from appliance.telemetry.health import Health
from appliance.web.exclusions import ExclusionDesk
from appliance.web.quarantine import Quarantine
from appliance.web.retro import Retro


@dataclass(frozen=True, slots=True)
class CaCertificate:
    """The certificate of a CA, and nothing else of it. ``sha256``: upper-case hex in pairs, joined by colons."""

    name: str
    subject: str
    sha256: str
    not_after: float
    pem: bytes
    der: bytes


@dataclass(frozen=True, slots=True)
class TenantCard:
    """What the pages show of a tenant. ``ca`` is None when its certificate could not be read."""

    tenant_id: str
    name: str
    status: str
    networks: tuple[str, ...]
    names: tuple[str, ...]
    ca: CaCertificate | None


@dataclass(frozen=True, slots=True)
class HostNames:
    """What a Host header may say. ``any_address``: any literal address, for a listener on all of them."""

    names: frozenset[str]
    any_address: bool = False


class PublicAnswer(Protocol):
    """What is answered below /pki/."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...


type Revocations = Callable[[str, str, bytes], PublicAnswer]
"""Method, path and body of a question about forged leaves. May block; raises OSError and ArcusError for files of ours."""


@dataclass(frozen=True, slots=True)
class Services:
    """``health`` and ``metrics`` may block. ``workers``: the processes that must be alive before the appliance is ready."""

    audit: AuditQuery
    health: Callable[[], Health]
    metrics: Callable[[], bytes]
    verifier: Verifier
    hosts: HostNames
    tenants: Mapping[str, TenantCard] = field(default_factory=dict)
    workers: tuple[str, ...] = ()
    revocations: Revocations | None = None
    exclusions: ExclusionDesk | None = None
    quarantine: Quarantine | None = None
    retro: Retro | None = None
    readiness: Callable[[str], Readiness | None] = lambda _: None
    """By the name of a CA: who accepts the one that will follow; None when none does. May block; raises StoreError."""
    coverage: Ledger | None = None
    """What was inspected. May block; raises StoreError."""
    draining: Callable[[], bool] = lambda: False
    portal: str = ""
    """The fixed name of the pages that clients see; empty without them."""
    households: Mapping[str, Household] = field(default_factory=dict)
    """What each tenant's clients are offered to install."""
    clock: Clock = field(default_factory=SystemClock)
