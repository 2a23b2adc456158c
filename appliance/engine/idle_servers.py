"""Connections to servers that a client has left idle, for the next connection of the same client to the same place.

What is kept has been verified, and is at rest: no octet is under way in either direction. Whoever takes it has passed
every decision about its own connection first, and the way out is judged again; only connecting and shaking hands are saved.

Who may have it is ``Claim``: nothing is shared between tenants, users, client addresses or listeners. It lives in the
memory of one worker and one configuration. What was found out about the server's certificate is believed for ``max_age`` at
most, which is no longer than a TLS session of it could be resumed for, and no longer than the certificates are valid.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from mitmproxy.connection import Server
from OpenSSL import SSL

from appliance.domain.clock import Clock
from appliance.domain.facts import UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, EscapeNotes, TlsNotes
from appliance.engine.server_connection import has_ended

CAPACITY: Final = 1024
"""Connections kept by one worker, of all tenants together: a descriptor and some 50 KB each, 41 of which are OpenSSL's."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose a connection is, and to what place it leads. Everything that our hello, or the choice of a certificate of ours,
    may depend on is in here, and ``alpn`` and ``sni`` are as the client had them."""

    tenant: TenantId
    client_ip: str
    user: UserFacts | None
    listener: str
    address: tuple[str, int]
    sni: str
    alpn: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Keeping:
    """How one tenant keeps connections; times in seconds."""

    idle: float
    max_age: float
    per_client: int


@dataclass(eq=False, slots=True)
class Kept:
    """One connection. ``notes`` are of its handshake, ``made`` of its way out; times are on the monotonic clock, but for
    ``not_after``, when the first of its certificates ends (seconds since the epoch)."""

    claim: Claim
    server: Server
    tls: SSL.Connection
    notes: TlsNotes
    made: EscapeNotes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    born: float
    not_after: float
    rested: float = 0.0
    """Since when it is idle."""
    reading: "asyncio.Task[None] | None" = None
    """Who has read from it until now, and is about to end."""
    protocol: asyncio.BaseProtocol = field(default_factory=asyncio.Protocol)
    """What it had before it was watched."""


class Stands(Protocol):
    """See ``appliance.app.ways_out``."""

    def __call__(self, conn: ConnNotes, address: tuple[str, int], made: EscapeNotes) -> bool: ...


class IdleServers:
    """Bounded; of one client, and of all, the oldest goes first. Use from one event loop only.

    ``counters``: ``kept``, ``reused`` and ``repeated`` (requests that a server had closed upon). ``dropped``: by cause,
    ``idle``, ``age``, ``certificate``, ``server`` (closed, or said something), ``evicted``, ``way``, ``refused`` (its server
    was since) and ``leaving``.
    """

    def __init__(self, settings: Mapping[TenantId, Keeping], stands: Stands, clock: Clock, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError("capacity must be positive")
        self.counters: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._settings, self._stands, self._clock, self._capacity = settings, stands, clock, capacity
        self._all: dict[Kept, None] = {}
        self._clients: dict[tuple[TenantId, str], dict[Kept, None]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._all)

    @property
    def now(self) -> float:
        return self._clock.monotonic()

    def keeps(self, tenant: TenantId) -> bool:
        """Whether there is any use in offering a connection of this tenant's."""
        return not self._closed and tenant in self._settings

    def keep(self, conn: ConnNotes, kept: Kept) -> bool:
        """Take it over from its client, and watch it. False: it stays whose it was, and is to be closed."""
        if not self.keeps(kept.claim.tenant) or not self._holds(kept) or not self._same_way(conn, kept):
            return False
        transport = kept.writer.transport
        kept.protocol = transport.get_protocol()
        transport.set_protocol(_Watch(lambda: self._drop(kept, "server")))
        _acknowledge(transport)
        self._all[kept] = None
        mine = self._clients.setdefault(_client(kept.claim), {})
        mine[kept] = None
        self.counters["kept"] += 1
        if len(mine) > self._settings[kept.claim.tenant].per_client:
            self._drop(next(iter(mine)), "evicted")
        if len(self._all) > self._capacity:
            self._drop(next(iter(self._all)), "evicted")
        return True

    def take(self, conn: ConnNotes, claim: Claim) -> Kept | None:
        """The one that was left last; it is the caller's from now on."""
        for kept in reversed(self._clients.get(_client(claim), {})):
            if kept.claim == claim and (kept.reading is None or kept.reading.done()):
                return self._given(conn, kept)
        return None

    def repeated(self) -> None:
        """A server had closed the connection that a request went out on, and it is made again on another."""
        self.counters["repeated"] += 1

    def forget(self, tenant: TenantId, address: tuple[str, int]) -> None:
        """A server at this place has just been refused: nobody goes on talking to it for what was found out before."""
        for kept in [each for each in self._all if each.claim.tenant == tenant and each.claim.address == address]:
            self._drop(kept, "refused")

    def check_deadline(self, _now: float) -> None:
        """Close what has waited for too long (``engine.deadlines``)."""
        for kept in list(self._all):
            self._holds(kept, drop=True)

    def close(self) -> None:
        """Close everything, and keep nothing any more."""
        self._closed = True
        for kept in list(self._all):
            self._drop(kept, "leaving")

    def _given(self, conn: ConnNotes, kept: Kept) -> Kept | None:
        if not self._holds(kept, drop=True) or not self._same_way(conn, kept, drop=True):
            return None
        self._remove(kept)
        kept.writer.transport.set_protocol(kept.protocol)
        self.counters["reused"] += 1
        return kept

    def _holds(self, kept: Kept, *, drop: bool = False) -> bool:
        """Whether it may still be given to anybody."""
        cause = self._expired(kept)
        if cause and drop:
            self._drop(kept, cause)
        return not cause

    def _expired(self, kept: Kept) -> str:
        settings, now = self._settings[kept.claim.tenant], self._clock.monotonic()
        if now - kept.rested >= settings.idle:
            return "idle"
        if now - kept.born >= settings.max_age:
            return "age"
        if self._clock.now() >= kept.not_after:
            return "certificate"
        return "server" if kept.writer.is_closing() else ""

    def _same_way(self, conn: ConnNotes, kept: Kept, *, drop: bool = False) -> bool:
        stands = self._stands(conn, kept.claim.address, kept.made)
        if not stands and drop:
            self._drop(kept, "way")
        return stands

    def _drop(self, kept: Kept, cause: str) -> None:
        if kept not in self._all:
            return
        self._remove(kept)
        self.dropped[cause] += 1
        has_ended(kept.server)
        kept.writer.transport.abort()

    def _remove(self, kept: Kept) -> None:
        del self._all[kept]
        client = _client(kept.claim)
        mine = self._clients[client]
        del mine[kept]
        if not mine:
            del self._clients[client]


class _Watch(asyncio.Protocol):
    """Nothing may come from a server that was asked nothing: not even a polite end leaves something to go on with."""

    def __init__(self, over: Callable[[], None]) -> None:
        self._over = over

    def data_received(self, _data: bytes) -> None:
        self._over()

    def eof_received(self) -> bool:
        self._over()
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self._over()


def _acknowledge(transport: asyncio.WriteTransport) -> None:
    """At once (tcp(7)): a server's system may hold words out of turn back until then (RFC 9293 section 3.7.4), and the next
    request would bring the acknowledgement, and take them for its answer."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _client(claim: Claim) -> tuple[TenantId, str]:
    return claim.tenant, claim.client_ip
