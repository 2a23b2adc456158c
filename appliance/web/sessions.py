"""Who is signed in. Ids are random and made here only: an id that a browser brings along is looked up, never adopted."""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from appliance.domain.clock import Clock

COOKIE = "arcus_session"
IDLE = 3600.0
LIFETIME = 12 * 3600.0
CAPACITY = 256


@dataclass(slots=True)
class _Session:
    opened: float
    seen: float


class Sessions:
    """Sessions end after an hour without a request, after twelve hours, and with the process."""

    def __init__(self, clock: Clock, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def open(self, replaced: str = "") -> str:
        """A new id. ``replaced``: the one the browser had, which ends."""
        self.close(replaced)
        token = secrets.token_urlsafe(32)
        now = self._clock.monotonic()
        self._sessions[_key(token)] = _Session(now, now)
        if len(self._sessions) > self._capacity:
            self._sessions.popitem(last=False)
        return token

    def alive(self, token: str) -> bool:
        """Whether this is the id of a session; it counts as a request."""
        session = self._sessions.get(_key(token))
        now = self._clock.monotonic()
        if session is None:
            return False
        if now - session.seen > IDLE or now - session.opened > LIFETIME:
            self.close(token)
            return False
        session.seen = now
        self._sessions.move_to_end(_key(token))
        return True

    def close(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_key(token), None)


def _key(token: str) -> bytes:
    """Hashed, so that a lookup takes no time that depends on how much of an id was guessed right."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
