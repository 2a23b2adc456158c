"""What the choice of a way out may look at, and nothing else."""

from dataclasses import dataclass
from typing import Literal

from appliance.domain.ids import TaskId, TenantId
from appliance.domain.target import Target


@dataclass(frozen=True, slots=True)
class Resolution:
    """What one resolver said about the target's name. Kept, so that the leaf dials what the router judged."""

    resolver: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EscapeContext:
    """One task's wish to reach ``target``. The same context always gets the same path."""

    tenant: TenantId
    target: Target
    client_ip: str = ""
    user: str = ""
    protocol: Literal["http", "tls", "tcp"] = "tcp"
    """``http`` is one request in clear text: a parent proxy gets it in absolute form."""
    task_id: TaskId | None = None
    resolutions: tuple[Resolution, ...] = ()
    """Added by the dialer, when a router on the path matches networks against resolved addresses."""

    def addresses_from(self, resolver: str | None) -> tuple[str, ...]:
        """What that resolver said about the target's name; empty when it was not asked."""
        return next((known.addresses for known in self.resolutions if known.resolver == resolver), ())
