"""Connections to clients whose tickets are good in every worker, and for one tenant, CA and leaf alone."""

import hashlib
import logging
from functools import lru_cache

from OpenSSL import SSL

from certs.profile import LeafProfile
from certs.server_context import DEFAULT_FLOOR, ClientFloor, LeafContext
from certs.ticket_keys import TicketKeys
from certs.ticket_memory import TicketMemory, TicketMemoryError, locate

logger = logging.getLogger(__name__)

_lib = vars(SSL)["_lib"]


class Tickets:
    """``keys`` None: each worker accepts its own tickets only."""

    def __init__(self, keys: TicketKeys | None, memory: TicketMemory | None) -> None:
        self._keys, self._memory = keys, memory

    @property
    def shared(self) -> bool:
        """Whether other workers accept our tickets, and we theirs."""
        return self._keys is not None and self._memory is not None

    def connection(self, context: LeafContext, scope: bytes, ticket: bytes = b"") -> SSL.Connection:
        """A server's connection. ``scope``: what a session must have been opened under to be resumed (``scope_of``).
        ``ticket``: the beginning of the one that the client shows, or nothing."""
        raw = vars(context)["_context"]
        if _lib.SSL_CTX_set_session_id_context(raw, scope, len(scope)) != 1:
            raise ValueError("a scope has at most 32 octets")
        if self._keys is not None and self._memory is not None:
            key = self._keys.for_ticket(ticket)
            if context.ticket_name != key.name:
                self._memory.write(context, key)
                context.ticket_name = key.name
        # takes the scope with it: what the context is told for the next connection does not reach this one
        connection = SSL.Connection(context)
        connection.set_accept_state()
        return connection


def tickets(keys: TicketKeys) -> Tickets:
    """Shared ones if this OpenSSL allows it."""
    try:
        return Tickets(keys, locate())
    except TicketMemoryError as error:
        logger.warning("session tickets are good in one worker only: %s", error)
        return Tickets(None, None)


@lru_cache(maxsize=4096)
def scope_of(
    tenant: str, ca_sha256: str, profile: LeafProfile, floor: ClientFloor = DEFAULT_FLOOR, revocations: str = ""
) -> bytes:
    """OpenSSL refuses a ticket whose session was opened under another scope (SSL_CTX_set_session_id_context(3)): so a client
    is never taken back on the word of another tenant, another CA, or another leaf than the one it would be shown now, nor
    with a cipher suite or a group that is not accepted any more. ``revocations``: another one after each (``Withdrawn.mark``),
    for a session may have been opened under a leaf that has been revoked since."""
    words = (tenant, ca_sha256, revocations, *floor.words)
    return hashlib.sha256(b"\0".join((*(word.encode() for word in words), profile.to_bytes()))).digest()
