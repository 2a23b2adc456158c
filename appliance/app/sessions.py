"""TLS sessions of one worker: tickets for clients, sessions kept for servers, and how little a client may speak."""

from collections.abc import Mapping, Sequence

from addons.resumption import Count, Resumption
from appliance.config.auditor import Auditor
from appliance.config.client_tls import ClientTls
from appliance.config.server import Server
from appliance.domain.clock import Clock
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from appliance.telemetry.health import HealthWriter, State
from certs.server_context import ClientFloor
from certs.ticket_keys import Seed, TicketKeys
from certs.tickets import tickets
from certs.upstream_sessions import UpstreamSessions


class Sessions:
    """``auditors``: each tenant's. ``seed``: of the ticket keys that all workers share; without one, the worker's own."""

    def __init__(self, servers: Sequence[Server], auditors: Mapping[TenantId, Auditor], clock: Clock, seed: bytes) -> None:
        self._clock = clock
        self._interceptions = {tenant: auditor.tls_interception for tenant, auditor in auditors.items()}
        self._tenants = {
            tenant: _floor(found.client_tls if found else ClientTls()) for tenant, found in self._interceptions.items()
        }
        self._floors: dict[tuple[TenantId, str], ClientFloor] = {}
        self._listeners = {server.name: _floor(server.client_tls) for server in servers}
        self.tickets = tickets(TicketKeys(Seed.from_bytes(seed) if seed else Seed.new(clock), clock))

    def floor(self, conn: ConnNotes) -> ClientFloor:
        """What this connection's client must speak: as its tenant's auditor demands, or its listener."""
        tenant, server = conn.tenant or TenantId(""), conn.client.server
        floor = self._floors.get((tenant, server))
        if floor is None:
            floor = self._floors[tenant, server] = self._tenants[tenant].both(self._listeners[server])
        return floor

    def resumption(self, count: Count) -> Resumption:
        """With servers; tenants that never resume have no age."""
        kept = {tenant: found.upstream_sessions for tenant, found in self._interceptions.items() if found is not None}
        ages = {tenant: sessions.max_age for tenant, sessions in kept.items() if sessions.enabled}
        return Resumption(UpstreamSessions(self._clock), ages, count)

    def sample(self, health: HealthWriter) -> None:
        """Without common keys nothing is wrong but speed: a client that meets another worker begins anew."""
        health.set("session_tickets", State.OK, "" if self.tickets.shared else "good in one worker only")


def _floor(client: ClientTls) -> ClientFloor:
    return ClientFloor(client.min_version, tuple(client.ciphers), tuple(client.signatures), tuple(client.groups))
