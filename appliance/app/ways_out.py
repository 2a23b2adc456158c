"""The tenants' ways out, for everybody who has only the notes of a connection: its traffic, a look at a server, a fetch."""

from collections.abc import Callable

from appliance.domain.errors import PolicyError
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, EscapeNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, normalise_host
from appliance.egress.context import EscapeContext
from appliance.egress.dialer import Dialer
from appliance.egress.escaper import Dialed


class WaysOut:
    """``root`` names the escaper that a connection starts from; ``connected`` is told of each way out that was made."""

    def __init__(
        self, dialer: Dialer, root: Callable[[ConnNotes], str], connected: Callable[[EscapeNotes], None] = lambda _: None
    ) -> None:
        self._dialer, self._root, self._connected = dialer, root, connected

    async def dial(self, conn: ConnNotes, address: tuple[str, int], protocol: str) -> Dialed:
        """Raises TaskError."""
        dialed = await self._dialer.connect(*self._from(conn, Target(normalise_host(address[0]), address[1]), protocol))
        self._connected(dialed.notes)
        return dialed

    def stands(self, conn: ConnNotes, address: tuple[str, int], made: EscapeNotes) -> bool:
        """Whether a connection that was made this way could be made by this one now, and this way."""
        try:
            root, ctx = self._from(conn, Target(normalise_host(address[0]), address[1]), "tls")
        except PolicyError:
            return False
        return self._dialer.stands(root, ctx, made)

    async def resolve(self, conn: ConnNotes, target: Target) -> tuple[str, ...]:
        """Where a name leads, by the resolver of the way out. Raises TaskError."""
        return await self._dialer.addresses(*self._from(conn, target, "tls"))

    def _from(self, conn: ConnNotes, target: Target, protocol: str) -> tuple[str, EscapeContext]:
        tenant = conn.tenant or TenantId("")
        root = self._root(conn)
        if not root:
            raise PolicyError(Reason.NO_ESCAPER, f"tenant {tenant}")
        user = conn.user.name if conn.user else ""
        return root, EscapeContext(tenant, target, conn.client.ip, user, protocol, conn.conn_id)  # type: ignore[arg-type]
