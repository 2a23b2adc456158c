"""What a server gets that asks for a certificate of the client: the one configured for it, nothing, or no connection."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from appliance.policy.client_certificates import ClientCertificates
from certs.client_identity import ClientIdentity

type OnAsked = Literal["continue", "block", "splice"]


@dataclass(frozen=True, slots=True)
class Presenting:
    """``asked`` is told of servers that asked and got nothing, for tenants that splice those from then on."""

    certificates: Mapping[TenantId, ClientCertificates]
    identities: Mapping[tuple[TenantId, str], ClientIdentity]
    on_asked: Mapping[TenantId, OnAsked]
    asked: Callable[[TenantId, str], None]

    def choose(self, conn: ConnNotes, host: str) -> ClientIdentity | None:
        """For the server ``host``, on behalf of this connection's tenant and user."""
        tenant = conn.tenant or TenantId("")
        known = self.certificates.get(tenant)
        name = known.find(host, conn.user) if known is not None else None
        return self.identities[tenant, name] if name is not None else None

    def refuses(self, conn: ConnNotes) -> bool:
        """Whether a server that asks and gets nothing is not talked to."""
        return self.on_asked.get(conn.tenant or TenantId("")) == "block"

    def noticed(self, conn: ConnNotes, host: str) -> None:
        """A server asked, and there was nothing for it."""
        tenant = conn.tenant or TenantId("")
        if self.on_asked.get(tenant) == "splice":
            self.asked(tenant, host)
