"""A look at the server's TLS before the client's hello is answered, where a decision depends on it.

One connection of our own, by the tenant's way out and under the tenant's trust, as short as a handshake. What it shows
is remembered: a page that opens ten connections to a host costs that host one more.
"""

import asyncio
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from appliance.config.survey import Survey as SurveyConfig
from appliance.domain.clock import Clock
from appliance.domain.errors import TaskError
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.domain.upstream import UpstreamFacts
from appliance.egress.escaper import Dialed
from appliance.engine.server_connection import Dial
from appliance.engine.stream import close_soon
from certs.look import Look
from certs.memo import Kept, Memo
from certs.trust import UpstreamTrust

CAPACITY: Final = 4096
"""Servers remembered by one worker: about 8 MB when full."""
PROTOCOLS: Final = ("h2", "http/1.1")
"""What of a client's ALPN is offered. A server may have another certificate for a protocol of its own, and a client must
not fill the memory with what it alone was shown."""
READ: Final = 65_536
MAX_FLIGHT: Final = 1_048_576
"""Bytes that a server may take to say who it is."""


@dataclass(frozen=True, slots=True)
class Surveyor:
    """How one tenant looks at servers."""

    trust: UpstreamTrust
    config: SurveyConfig


@dataclass(frozen=True, slots=True)
class _Key:
    """Whatever may change what is seen. No tenant learns from another's look: their ways out and trusts differ."""

    tenant: TenantId
    escaper: str
    target: Target
    sni: str
    alpn: tuple[str, ...]


class Survey:
    """Bounded, least recently used out first; one look per server at a time, however many clients wait for it.

    ``counters``: ``hit``, ``joined`` (waited for another's look) and ``looked``. Use from one event loop only.
    """

    def __init__(
        self,
        dial: Dial,
        surveyors: Mapping[TenantId, Surveyor],
        escaper: Callable[[ConnNotes], str],
        clock: Clock,
        capacity: int = CAPACITY,
    ) -> None:
        """``escaper``: the name of a connection's way out, a part of what a look is remembered under."""
        self._dial, self._surveyors, self._escaper = dial, surveyors, escaper
        self._memo: Memo[_Key, UpstreamFacts] = Memo(capacity, clock)
        self.counters = self._memo.counters

    def __len__(self) -> int:
        return len(self._memo)

    async def look(self, conn: ConnNotes, target: Target, sni: str = "", alpn: tuple[str, ...] = ()) -> UpstreamFacts:
        """The server at ``target`` under the name ``sni`` (else the target's own), as seen now or lately.

        Never fails for what a server does: ``facts.reason`` says why there is no certificate, or no good one.
        """
        offered = tuple(name for name in PROTOCOLS if name in alpn)
        key = _Key(conn.tenant or TenantId(""), self._escaper(conn), target, sni or target.host, offered)
        # a copy: the connection may leave its tenant while others wait for the same answer
        return await self._memo.get(key, lambda: self._known(copy.copy(conn), key))

    def close(self) -> None:
        """End every look under way."""
        self._memo.close()

    async def _known(self, conn: ConnNotes, key: _Key) -> Kept[UpstreamFacts]:
        config = self._surveyors[key.tenant].config
        facts = await self._look(conn, key)
        return Kept(facts, config.ttl if facts.reason is Reason.OK else config.failure_ttl)

    async def _look(self, conn: ConnNotes, key: _Key) -> UpstreamFacts:
        surveyor = self._surveyors[key.tenant]
        try:
            async with asyncio.timeout(surveyor.config.timeout):
                dialed = await self._dial(conn, (key.target.host, key.target.port), "tls")
                try:
                    return await _shake(Look(surveyor.trust, key.sni, key.alpn), dialed)
                finally:
                    close_soon(dialed.writer.transport)
        except TimeoutError:
            return UpstreamFacts(Reason.CONNECT_TIMEOUT, f"no end of the handshake in {surveyor.config.timeout:g} s")
        except TaskError as error:
            return UpstreamFacts(error.reason, error.detail)
        except OSError as error:
            return UpstreamFacts(Reason.UPSTREAM_CLOSED, str(error))


async def _shake(look: Look, dialed: Dialed) -> UpstreamFacts:
    """Run the handshake over the stream, as far as it goes."""
    dialed.writer.write(look.step())
    received = 0
    while not look.done:
        await dialed.writer.drain()
        data = await dialed.reader.read(READ)
        received += len(data)
        if not data or received > MAX_FLIGHT:
            break
        dialed.writer.write(look.step(data))
    return look.facts(dialed.notes.resolved_ip)
