"""Sessions with servers that were verified in full, for the next connection to the same place.

A resumed handshake carries no certificate (RFC 8446 section 2.2): what the first one found out is believed again. So a
session is kept only after a verification without a fault, is bound to everything that this verification depended on, and
is offered only while every certificate of its chain is valid by the clock of that moment.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from OpenSSL import SSL

from appliance.domain.clock import Clock
from appliance.domain.ids import TenantId
from certs.trust import verified_chain

CAPACITY: Final = 4096
"""Sessions kept by one worker, of all tenants together; with their chains some 10 KB each."""
PER_PLACE: Final = 8
"""Sessions kept for one place. A ticket is used once (RFC 8446 section C.4), so a page's connections need one each."""

_SHARES: Final = {
    b"x25519": b"*X25519:X25519MLKEM768:P-256:P-384:P-521",
    b"secp256r1": b"*P-256:X25519MLKEM768:X25519:P-384:P-521",
}
"""The groups to offer a server that has used this one, with the key share for it alone (the star). A share for ML-KEM is a
third of our side of a resumed handshake (measured); a server that has learnt it since asks for it (RFC 8446 section 4.1.4)."""

_lib, _ffi = vars(SSL)["_lib"], vars(SSL)["_ffi"]


@dataclass(frozen=True, slots=True)
class Place:
    """What a session is good for; whatever differs in any of it has sessions of its own.

    ``tenant`` stands for its trust set as well: a new configuration starts with new processes and empty memory.
    ``way`` is the path of escapers, so that a server cannot link two ways out by a ticket.
    """

    tenant: TenantId
    way: tuple[str, ...]
    address: tuple[str, int]
    name: str
    alpn: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When the whole verified chain is valid: seconds since the epoch."""

    not_before: float
    not_after: float

    def holds(self, now: float) -> bool:
        return self.not_before <= now < self.not_after


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a server whose session is resumed, which shows no certificate again."""

    lifetime: Lifetime
    shown: Sequence[object] = ()
    """The certificates that it showed, as whoever keeps the session had them."""


@dataclass(frozen=True, slots=True)
class _Kept:
    session: SSL.Session
    known: Known
    group: bytes
    """What the key exchange was done with."""
    until: float
    """On the monotonic clock."""


class UpstreamSessions:
    """Bounded, least recently used place out first. Use from one event loop only.

    ``counters``: ``kept``, ``offered``, ``expired`` (by age or by a certificate), ``evicted`` and ``forgotten``.
    """

    def __init__(self, clock: Clock, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError("capacity must be positive")
        self.counters: Counter[str] = Counter()
        self._clock = clock
        self._capacity = capacity
        self._places: OrderedDict[Place, list[_Kept]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def offer(self, connection: SSL.Connection, place: Place) -> Known | None:
        """Let a connection that has not begun its handshake ask for a kept session; None when there is none for it.

        The session is gone from here: a TLS 1.3 server may accept it once only, and its answer brings the next.
        """
        kept = self._take(place)
        if kept is None:
            return None
        connection.set_session(kept.session)
        if kept.group in _SHARES and _lib.SSL_set1_curves_list(vars(connection)["_ssl"], _SHARES[kept.group]) != 1:
            _lib.ERR_clear_error()  # an OpenSSL before 3.5, which knows no star, and has one share only
        self.counters["offered"] += 1
        return kept.known

    def keep(self, connection: SSL.Connection, place: Place, known: Known, seconds: float) -> None:
        """Remember the session of a verified connection for at most ``seconds``.

        ``known``: of the chain that was verified, be it on this connection or on the one whose session it resumed.
        """
        session = connection.get_session()
        if session is None or not known.lifetime.holds(self._clock.now()):
            return
        sessions = self._places.setdefault(place, [])
        self._places.move_to_end(place)
        sessions.append(_Kept(session, known, _group(connection), self._clock.monotonic() + seconds))
        self._size += 1
        self.counters["kept"] += 1
        if len(sessions) > PER_PLACE:
            self._drop(sessions, 1, "evicted")
        while self._size > self._capacity:
            _, oldest = self._places.popitem(last=False)
            self._drop(oldest, len(oldest), "evicted")

    def forget(self, place: Place) -> None:
        """Whoever is there now could not be verified, or refused the session: what was known of it is worth nothing."""
        self._drop(sessions := self._places.pop(place, []), len(sessions), "forgotten")

    def _take(self, place: Place) -> _Kept | None:
        sessions = self._places.get(place)
        while sessions:
            kept = sessions.pop()
            self._size -= 1
            if not sessions:
                del self._places[place]
            # the wall clock as well: it may have been set since, in either direction
            if self._clock.monotonic() < kept.until and kept.known.lifetime.holds(self._clock.now()):
                return kept
            self.counters["expired"] += 1
        return None

    def _drop(self, sessions: list[_Kept], count: int, why: str) -> None:
        del sessions[:count]
        self._size -= count
        self.counters[why] += count


def _group(connection: SSL.Connection) -> bytes:
    name = _lib.SSL_get0_group_name(vars(connection)["_ssl"]) if _lib.Cryptography_HAS_SSL_GET0_GROUP_NAME else _ffi.NULL
    return bytes(_ffi.string(name)).lower() if name != _ffi.NULL else b""


def lifetime_of(connection: SSL.Connection) -> Lifetime | None:
    """The time in which every certificate of the chain that this very handshake verified is valid; None without one."""
    chain = verified_chain(connection)
    if not chain:
        return None
    return Lifetime(
        max(each.not_valid_before_utc.timestamp() for each in chain),
        min(each.not_valid_after_utc.timestamp() for each in chain),
    )


def has_ticket(connection: SSL.Connection, at_first: SSL.Session | None) -> bool:
    """Whether there is something to resume by. In TLS 1.3 it follows the handshake (RFC 8446 section 4.6.1), as a session in
    place of the one that was there ``at_first``, which must have been held since: memory is used again."""
    if connection.get_protocol_version_name() != "TLSv1.3" or at_first is None:
        return True
    return bool(_lib.SSL_get_session(vars(connection)["_ssl"]) != vars(at_first)["_session"])


def is_resumed(connection: SSL.Connection) -> bool:
    """Whether the handshake resumed the session that was offered."""
    return bool(_lib.SSL_session_reused(vars(connection)["_ssl"]))


def presents_certificate(connection: SSL.Connection) -> bool:
    """Whether the connection may say who we are. Its session would say so again, for somebody else."""
    return bool(_lib.SSL_get_certificate(vars(connection)["_ssl"]) != _ffi.NULL)


def close_quietly(connection: SSL.Connection) -> None:
    """OpenSSL voids the session of a connection that is freed before both sides said goodbye (an old TLS 1.0 rule,
    dropped by RFC 5246 section 7.2.1). No octet is sent."""
    connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
