"""The two kinds of escaper: a leaf connects, a router names the next escaper."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from appliance.domain.notes import EscapeNotes
from appliance.domain.target import Target
from appliance.egress.context import EscapeContext
from appliance.egress.opener import Opener


@dataclass(slots=True)
class Stats:
    """Counted since the process started; ``failures`` by reason word."""

    chosen: int = 0
    connected: int = 0
    failures: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Dialed:
    """A connected stream and how it came about.

    With ``absolute_form`` the peer is an HTTP parent and no CONNECT was sent: the request goes to it in absolute form,
    with ``proxy_authorization`` (when there is one) as its only Proxy-Authorization field. Otherwise the stream ends at
    the target.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    notes: EscapeNotes
    absolute_form: bool = False
    proxy_authorization: str | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """A router's answer. ``rule`` is its text for the audit record."""

    name: str
    rule: str


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def tenants(self) -> frozenset[str]:
        """Only these may use it; empty means all."""
        ...

    @property
    def stats(self) -> Stats: ...


class Escaper(_Named, Protocol):
    """A leaf."""

    async def escape(self, ctx: EscapeContext, opener: Opener, notes: EscapeNotes) -> Dialed:
        """Connect, writing into ``notes`` as it goes. Raises UpstreamError or PolicyError."""
        ...

    async def addresses(self, ctx: EscapeContext) -> tuple[str, ...]:
        """What the target's name stands for; empty where somebody else resolves it. Raises UpstreamError(DNS_FAILED)."""
        ...

    def admits(self, target: Target, ip: str) -> bool:
        """Whether a connection that was made to ``ip`` for this target could be made now. Pure; says no when in doubt."""
        ...


class Router(_Named, Protocol):
    """Pure: the same context gets the same hop."""

    def next(self, ctx: EscapeContext) -> Hop: ...

    def wants(self, ctx: EscapeContext) -> str | None:
        """The resolver whose answer could change ``next``, or None when it would not."""
        ...


@dataclass(eq=False)
class Identity:
    """What every escaper has, kept in one place."""

    name: str
    type: str
    tenants: frozenset[str]
    stats: Stats = field(default_factory=Stats)

    async def addresses(self, _ctx: EscapeContext) -> tuple[str, ...]:
        """Of a leaf that resolves no targets itself."""
        return ()

    def admits(self, _target: Target, _ip: str) -> bool:
        return False
