"""The address of a download: a token that is good for one client, one site and a limited time."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from appliance.domain.errors import PolicyError
from appliance.domain.reason import Reason
from appliance.domain.seal import Seal

PURPOSE: Final = "arcus download 1"
MAX_TOKEN: Final = 8192
MAX_BACK: Final = 4096
LIFE: Final = 24 * 3600.0
"""Seconds for which a ticket is told from a forged one. What it leads to is over long before."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and under which site's name."""

    tenant: str
    client: str
    """The client's address."""
    user: str
    """Empty without one."""
    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Ticket:
    owner: str
    """The worker that holds the download (``wire``)."""
    number: str
    """Of the download: random, never a second time."""
    asking: Asking
    back: str
    """Path and query of the original address, on the same site."""
    expires: float
    """Seconds since the epoch."""


class Tickets:
    """``now``: seconds since the epoch."""

    def __init__(self, key: bytes, now: Callable[[], float]) -> None:
        self._seal = Seal(key, PURPOSE, MAX_TOKEN)
        self._now = now

    def make(self, owner: str, number: str, asking: Asking, path: str) -> str:
        back = path if len(path) <= MAX_BACK else "/"
        ticket = Ticket(owner, number, asking, back, self._now() + LIFE)
        return self._seal.seal(json.dumps(dataclasses.asdict(ticket), separators=(",", ":")).encode())

    def open(self, token: str, asking: Asking) -> Ticket:
        """Raises PolicyError: DOWNLOAD_INVALID, or DOWNLOAD_FOREIGN for another client, user, tenant or site."""
        try:
            payload = self._seal.open(token)
        except ValueError as error:
            raise PolicyError(Reason.DOWNLOAD_INVALID, str(error)) from error
        fields: dict[str, Any] = json.loads(payload)  # authenticated: only this class writes such bytes
        ticket = Ticket(**fields | {"asking": Asking(**fields["asking"])})
        if self._now() >= ticket.expires:
            raise PolicyError(Reason.DOWNLOAD_INVALID, "too old")
        if ticket.asking != asking:
            raise PolicyError(Reason.DOWNLOAD_FOREIGN, ", ".join(_differences(ticket.asking, asking)))
        return ticket


def _differences(one: Asking, other: Asking) -> list[str]:
    return [field.name for field in dataclasses.fields(Asking) if getattr(one, field.name) != getattr(other, field.name)]
