"""Keys of session tickets (RFC 8446 section 4.6.1): the same in all workers, new every two hours, accepted for two more.

The parent makes a random seed and hands it to each worker it starts, through memory alone. From then on everybody counts
periods on the clock that all processes of a machine share and hashes forward, so nobody has to tell anybody, and what has
been left behind cannot be computed again: a key that is stolen opens no ticket older than its period.
"""

import hmac
import secrets
import struct
from dataclasses import dataclass, field
from typing import Final, Self

from appliance.domain.clock import Clock

PERIOD: Final = 7200.0
"""Seconds that a key makes tickets, and then again that it is accepted. A ticket lives one period, so no key is missed."""
NAME: Final = 16
"""Octets at the start of a ticket that say by which key it was made (RFC 5077 section 4)."""

_FORM = struct.Struct(">dQ32s")


@dataclass(frozen=True, slots=True)
class TicketKey:
    """What OpenSSL makes tickets with: AES-256 in CBC mode, then HMAC-SHA-256."""

    name: bytes
    hmac_key: bytes = field(repr=False)
    aes_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Seed:
    """The secret of one period. ``origin`` is when the first began, on the monotonic clock, in seconds."""

    origin: float
    period: int
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, clock: Clock) -> Self:
        # a period back: whoever starts from here also knows the key before the first one
        return cls(clock.monotonic() - PERIOD, 0, secrets.token_bytes(32))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError for what ``to_bytes`` has not written."""
        if len(data) != _FORM.size:
            raise ValueError("not a seed of ticket keys")
        return cls(*_FORM.unpack(data))

    def to_bytes(self) -> bytes:
        return _FORM.pack(self.origin, self.period, self.secret)

    def period_at(self, now: float) -> int:
        """Never before this seed's own."""
        return max(self.period, int((now - self.origin) // PERIOD))

    def forward(self, period: int) -> "Seed":
        """The seed of a later period. There is no way back."""
        secret = self.secret
        for _ in range(self.period, period):
            secret = hmac.digest(secret, b"arcus ticket: next", "sha256")
        return Seed(self.origin, max(self.period, period), secret)

    def key(self) -> TicketKey:
        both = hmac.digest(self.secret, b"arcus ticket: keys", "sha512")
        return TicketKey(hmac.digest(self.secret, b"arcus ticket: name", "sha256")[:NAME], both[:32], both[32:])


class SeedHolder:
    """The parent's part. It, too, forgets: a worker that starts late learns no key older than those still accepted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seed = Seed.new(clock)

    def __call__(self) -> bytes:
        """For a worker that starts now: the seed of the period before this one."""
        self._seed = self._seed.forward(self._seed.period_at(self._clock.monotonic()) - 1)
        return self._seed.to_bytes()


class TicketKeys:
    """A worker's part: the key that makes tickets now, and the one before it, which is still accepted."""

    def __init__(self, seed: Seed, clock: Clock) -> None:
        self._clock = clock
        self._before = seed
        self._now = seed.forward(seed.period + 1)
        self._keys = (self._now.key(), self._before.key())
        self._until = 0.0
        self._turn()

    def current(self) -> TicketKey:
        self._turn()
        return self._keys[0]

    def for_ticket(self, name: bytes) -> TicketKey:
        """The key for a connection whose client shows a ticket made by the key ``name``; the current one if it is unknown."""
        self._turn()
        return self._keys[1] if name == self._keys[1].name else self._keys[0]

    def _turn(self) -> None:
        now = self._clock.monotonic()
        if now < self._until:
            return
        period = max(self._now.period, self._now.period_at(now))
        if period > self._now.period:
            self._before = self._now.forward(period - 1)
            self._now = self._before.forward(period)
            self._keys = (self._now.key(), self._before.key())
        self._until = self._now.origin + (period + 1) * PERIOD
