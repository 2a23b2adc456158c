"""Password hashes: argon2id, and the salted SHA-1 of imported users.

Every check costs the same work, whether the user exists, has a hash of either kind, or is made up: what an answer
takes must not say which names are worth guessing at.
"""

import base64
import hashlib
import hmac
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from appliance.domain.errors import InternalError
from appliance.domain.reason import Reason

MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1
"""OWASP's argon2id parameters: 19 MiB, 2 passes, 1 lane; 34 ms on one core of the reference machine.

One lane, because each lane is a thread: with four, one guess would keep four cores busy.
"""

MAX_MEMORY_KIB: Final = 1 << 20
MAX_PASSES: Final = 64
MAX_LANES: Final = 16

_PHC: Final = re.compile(r"\$argon2id\$v=19\$m=(\d{1,8}),t=(\d{1,3}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,}\$([A-Za-z0-9+/]{16,})\Z")
_SHA1: Final = re.compile(r"[0-9a-fA-F]{40}\Z")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+\Z")


class Secret(Protocol):
    """What is kept of a password. ``stored`` names it, for cache keys: a changed password is another secret."""

    @property
    def stored(self) -> str: ...

    def matches(self, password: str) -> bool: ...


def prepare(text: str) -> str:
    """The form in which names and passwords are compared: NFC (RFC 7617 section 2.1, RFC 8265)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def make(password: str) -> str:
    """A new argon2id hash as a PHC string, for ``password_hash`` in the configuration."""
    return _hasher(MEMORY_KIB, PASSES, LANES).hash(prepare(password))


def _hasher(memory: int, passes: int, lanes: int) -> PasswordHasher:
    return PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=lanes, type=Type.ID)


@dataclass(frozen=True, slots=True)
class Argon2Hash:
    """An argon2id hash. ``work`` is memory times passes, in KiB."""

    stored: str
    memory: int
    passes: int
    lanes: int

    @classmethod
    def parse(cls, phc: str) -> "Argon2Hash":
        """Raises ValueError, without the hash in it: not argon2id, malformed, or dearer than a proxy can afford."""
        match = _PHC.match(phc)
        if match is None:
            raise ValueError("not an argon2id hash in PHC form ($argon2id$v=19$m=...,t=...,p=...$salt$hash)")
        memory, passes, lanes = int(match[1]), int(match[2]), int(match[3])
        if not (8 * lanes <= memory <= MAX_MEMORY_KIB and 1 <= passes <= MAX_PASSES and 1 <= lanes <= MAX_LANES):
            raise ValueError(f"argon2id cost out of range: m={memory}, t={passes}, p={lanes}")
        return cls(phc, memory, passes, lanes)

    @property
    def work(self) -> int:
        return self.memory * self.passes

    def matches(self, password: str) -> bool:
        """Raises InternalError when the check cannot be made, such as for lack of memory: that is no wrong password."""
        try:
            return _hasher(self.memory, self.passes, self.lanes).verify(self.stored, prepare(password))
        except (VerifyMismatchError, InvalidHashError):
            return False
        except VerificationError as error:
            raise InternalError(Reason.INTERNAL_ERROR, f"argon2: {error}") from error


@dataclass(frozen=True, slots=True)
class SaltedSha1:
    """An imported token: SHA-1 of password and salt, the salt as text or in hex, before or after the password.

    The formats this comes from differ in exactly these points and do not say which they are. All forms are computed
    and compared, whichever fits first.
    """

    salt: str
    sha1: str

    @classmethod
    def parse(cls, salt: str, sha1: str) -> "SaltedSha1":
        """Raises ValueError: not 40 hex digits, or no salt."""
        if not salt or not _SHA1.match(sha1):
            raise ValueError("not a salted SHA-1 token: a salt and 40 hex digits")
        return cls(salt, sha1.lower())

    @property
    def stored(self) -> str:
        return f"sha1${self.salt}${self.sha1}"

    def matches(self, password: str) -> bool:
        data, expected = prepare(password).encode(), bytes.fromhex(self.sha1)
        digests = [hashlib.sha1(text, usedforsecurity=False).digest() for text in self._texts(data)]
        results = [hmac.compare_digest(digest, expected) for digest in digests]
        return any(results)

    def _texts(self, password: bytes) -> Iterable[bytes]:
        salts = [self.salt.encode()]
        if _HEX.match(self.salt):
            salts.append(bytes.fromhex(self.salt))
        return [text for salt in salts for text in (salt + password, password + salt)]


def decoy(like: Iterable[Secret] = ()) -> Argon2Hash:
    """A hash that no password fits, as dear to check as the dearest of ``like``."""
    costs = [secret for secret in like if isinstance(secret, Argon2Hash)]
    dearest = max(costs, key=lambda secret: secret.work, default=Argon2Hash("", MEMORY_KIB, PASSES, LANES))
    salt, digest = (base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in (16, 32))
    cost = f"m={dearest.memory},t={dearest.passes},p={dearest.lanes}"
    return Argon2Hash(f"$argon2id$v=19${cost}${salt}${digest}", dearest.memory, dearest.passes, dearest.lanes)


def check(secret: Secret | None, stand_in: Argon2Hash, password: str) -> bool:
    """Whether the password fits. Blocking; always one argon2 computation, never none."""
    fits = secret is not None and secret.matches(password)
    if not isinstance(secret, Argon2Hash):
        stand_in.matches(password)
    return fits
