"""The certificate that the client sees: a leaf of its tenant's CA, following the origin's where that is known and verified."""

from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from mitmproxy import connection
from mitmproxy.tls import TlsData

from addons import tls_notes
from addons.blame import client_tls_reason
from addons.carry import conn_of
from addons.likeness import leaf_profile
from addons.overlap import Overlap
from addons.tls_session import HandshakeCount, agreed
from appliance.domain.clock import Clock
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TlsNotes
from appliance.domain.reason import Reason
from appliance.domain.tls_failure import plain_error
from certs.cache import Leaf, LeafCache
from certs.profile import LeafProfile
from certs.server_context import DEFAULT_FLOOR, ClientFloor
from certs.tickets import Tickets, scope_of

UNTRUSTED_CA = "untrusted_ca"
"""``TlsNotes.action``, on both sides."""


class Forge:
    """``caches``: the leaf cache of each tenant's CA. ``http2``: the tenants that may speak it. ``same_key``: the tenants
    whose leaves follow the origin's kind of key. ``untrusted``: the caches of the CAs that no client trusts, for origins
    that are to look as bad as they are."""

    def __init__(
        self,
        caches: Mapping[TenantId, LeafCache],
        http2: frozenset[TenantId],
        clock: Clock,
        count: HandshakeCount,
        same_key: frozenset[TenantId] = frozenset(),
        untrusted: Mapping[TenantId, LeafCache] | None = None,
        overlap: Overlap | None = None,
        tickets: Tickets | None = None,
        floors: Callable[[ConnNotes], ClientFloor] = lambda _: DEFAULT_FLOOR,
    ) -> None:
        self._overlap = overlap
        self._tickets, self._floors = tickets or Tickets(None, None), floors
        self._same_key = same_key
        self._untrusted = untrusted or {}
        self._caches = caches
        self._count = count
        self._http2 = http2
        self._clock = clock

    def tls_start_client(self, data: TlsData) -> Awaitable[None] | None:
        """At once when the leaf is in the cache, which saves a task; otherwise when it is."""
        conn = conn_of(cast(connection.Client, data.conn))
        tenant = conn.tenant or TenantId("")
        same_key = tenant in self._same_key
        profile = leaf_profile(conn, data.context.server, self._clock.now(), same_key=same_key, floor=self._floors(conn))
        cache = self._cache(conn, data.context.server)
        leaf = cache.ready(profile)
        if leaf is None:
            return self._start_later(data, cache, profile)
        self._start(data, cache, profile, leaf)
        return None

    async def _start_later(self, data: TlsData, cache: LeafCache, profile: LeafProfile) -> None:
        self._start(data, cache, profile, await cache.get(profile))

    def _cache(self, conn: ConnNotes, server: connection.Server) -> LeafCache:
        """Of the tenant's CA; of one that nobody trusts where the server passed only on the condition that this is seen."""
        tenant = conn.tenant or TenantId("")
        as_bad = server.tls_established and conn.server_tls is not None and conn.server_tls.action == UNTRUSTED_CA
        if as_bad:
            return self._untrusted[tenant]
        upcoming = self._overlap.cache(conn) if self._overlap is not None else None
        return self._caches[tenant] if upcoming is None else upcoming

    def _start(self, data: TlsData, cache: LeafCache, profile: LeafProfile, leaf: Leaf) -> None:
        client = cast(connection.Client, data.conn)
        conn = conn_of(client)
        tenant, floor = conn.tenant or TenantId(""), self._floors(conn)
        conn.client_tls = notes = tls_notes.before_client(client.sni or "", leaf, self._clock.now())
        notes.action = UNTRUSTED_CA if cache is self._untrusted.get(tenant) else ""
        scope = scope_of(tenant, notes.ca_sha256, profile, floor, cache.withdrawn.mark)
        data.ssl_conn = self._tickets.connection(leaf.context.at(floor), scope, conn.hello.ticket if conn.hello else b"")
        data.ssl_conn.set_app_data({"alpn": self._protocols(tenant, data.context.server)})

    def _protocols(self, tenant: TenantId, server: connection.Server) -> tuple[bytes, ...]:
        """HTTP/2 to the client unless the server, already connected, speaks HTTP/1.1 only: one protocol end to end."""
        if tenant not in self._http2 or (server.tls_established and server.alpn != b"h2"):
            return (b"http/1.1",)
        return (b"h2", b"http/1.1")

    def tls_established_client(self, data: TlsData) -> None:
        notes = conn_of(cast(connection.Client, data.conn)).client_tls
        if notes is not None:
            tls_notes.add_agreed(notes, data)
            notes.done = self._clock.now()
            self._count("client", Reason.OK, self._clock.now() - notes.begun)

    def tls_failed_client(self, data: TlsData) -> None:
        conn = conn_of(cast(connection.Client, data.conn))
        conn.client_tls = conn.client_tls or TlsNotes(sni=conn.hello.sni if conn.hello else "")
        conn.client_tls.error = error = plain_error(data.conn.error or "handshake failed")
        conn.client_tls.version, conn.client_tls.cipher = agreed(data.ssl_conn)
        self._count("client", client_tls_reason(error), 0.0)
