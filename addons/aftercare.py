"""What is found out about a server after its handshake and before the client's first byte goes there: the issuers that it
forgot to send, and whether its certificates have been taken back."""

import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL

from appliance.domain.clock import Clock
from appliance.domain.notes import ConnNotes, TlsNotes
from appliance.domain.reason import Reason
from certs import staple
from certs.issuers import Issuers
from certs.patience import Patience
from certs.revocation import Revocation
from certs.trust import UpstreamTrust, verified_chain
from certs.upstream_sessions import is_resumed
from certs.verdict import Verdict
from certs.verification import Verification, sent_chain

type Fetch = Callable[[ConnNotes, str, bytes, str], Awaitable[bytes]]
"""Connection, URL, body and its type; no body: GET."""
type Get = Callable[[str, bytes, str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Aftercare:
    """Of one tenant."""

    trust: UpstreamTrust
    issuers: Issuers
    revocation: Revocation
    fetch: Fetch
    clock: Clock
    patience: float
    """Seconds that one connection waits for everything about its server; what takes longer counts as not to be had."""

    def wanted(self, connection: SSL.Connection) -> bool:
        """Whether something is left to be found out. A resumed session was judged when it was new."""
        state: Verification = connection.get_app_data()
        modes = self.revocation.modes
        return state.gap is not None or ((modes.fetches or modes.hard) and not is_resumed(connection))

    async def judge(self, conn: ConnNotes, connection: SSL.Connection, notes: TlsNotes) -> Verdict:
        """The verdict on the server; what was learnt is written into ``notes``."""
        state: Verification = connection.get_app_data()
        chain, get, patience = verified_chain(connection), self._by(conn), Patience(self.patience, self.clock)
        if state.gap is not None:
            verdict, chain = await self._complete(connection, state, state.gap, get, patience)
            if verdict.reason is not Reason.OK or not chain:
                return verdict
            notes.completed = True
        return await self._revocation(connection, state, chain, notes, get, patience)

    def _by(self, conn: ConnNotes) -> Get:
        """Fetch in the name of this connection. A copy: the connection may leave its tenant meanwhile."""
        party = copy.copy(conn)
        return lambda url, body, kind: self.fetch(party, url, body, kind)

    async def _complete(
        self, connection: SSL.Connection, state: Verification, gap: Verdict, get: Get, patience: Patience
    ) -> tuple[Verdict, list[x509.Certificate]]:
        """A chain that was completed and still has a fault is refused, whatever is tolerated: verification ends at the first
        fault then, and there may be more behind it."""
        sent = sent_chain(connection)
        verdict, chain = await self.issuers.complete(self.trust, state.host, sent, gap, lambda url: get(url, b"", ""), patience)
        if verdict.reason is Reason.OK:
            stapled = staple.check(state.staple, chain, self.clock.now())
            if stapled is not None:
                return state.refuse(stapled), []
            state.filled()
            return verdict, chain
        if verdict.reason is gap.reason:
            return state.settle(connection), []
        return state.refuse(verdict), []

    async def _revocation(
        self,
        connection: SSL.Connection,
        state: Verification,
        chain: Sequence[x509.Certificate],
        notes: TlsNotes,
        get: Get,
        patience: Patience,
    ) -> Verdict:
        modes = self.revocation.modes
        if not modes.fetches and not modes.hard:
            return Verdict(Reason.OK)
        found = await self.revocation.check(chain, state.staple, get, patience)
        notes.revocation = found.text
        if found.verdict is None or state.accepts(found.verdict, connection):
            return Verdict(Reason.OK)
        return found.verdict
