"""What a decryption rule may look at. What costs something to learn is asked for only when a rule depends on it."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from appliance.domain.facts import ClientFacts, HelloFacts, UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.upstream import UpstreamFacts

_NONE: Final = TenantId("")
_NO_HELLO: Final = HelloFacts()


class Need(Enum):
    """What a decision cannot go on without."""

    ADDRESSES = "addresses"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """One TLS connection of a client, before its hello is answered."""

    client: ClientFacts
    names: tuple[str, ...]
    """Its SNI, CONNECT host and original destination, each judged on its own."""
    port: int
    tenant: TenantId = _NONE
    user: UserFacts | None = None
    hello: HelloFacts = _NO_HELLO
    now: float = 0.0
    """Seconds since the epoch."""
    addresses: tuple[str, ...] | None = None
    """Where the connection would go. None: not asked yet; empty: cannot be known, as behind a parent proxy."""
    upstream: UpstreamFacts | None = None
    """None: not looked at yet."""

    def with_addresses(self, addresses: tuple[str, ...]) -> "TlsFacts":
        return replace(self, addresses=addresses)

    def with_upstream(self, upstream: UpstreamFacts) -> "TlsFacts":
        return replace(self, upstream=upstream)
