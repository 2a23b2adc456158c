"""The admin token: made at first start and shown once; only its argon2id hash stays, in a file of mode 0600."""

import asyncio
import hmac
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from appliance.control.failures import FailureLimit
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import ConfigError, Problem
from appliance.files import write_new

PREFIX = "adm_"
"""Makes a token that leaked into a file or a chat findable, and never an option of a command line."""
MAX_LENGTH = 256
CACHE_SECONDS = 300.0
_CACHED = 64
_WAITING = 8
_MAX_FILE = 1024
# OWASP's parameters: 19 MiB, 2 passes, 1 lane; 34 ms on one core of the reference machine
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)


def ensure(path: Path) -> str | None:
    """Make a token when there is none. Returns it, this once; None when there was one already.

    Raises:
        ConfigError: the file cannot be read or made, or holds no hash.
    """
    try:
        if path.exists():
            _stored(path)
            path.chmod(0o600)
            return None
        token = PREFIX + secrets.token_urlsafe(32)
        return token if write_new(path, f"{_HASHER.hash(token)}\n".encode()) else None
    except OSError as error:
        raise ConfigError([Problem(f"cannot be used: {error.strerror}", "admin token", str(path))]) from error


def _stored(path: Path) -> str:
    with path.open("rb") as file:
        text = file.read(_MAX_FILE).decode("ascii", "replace").strip()
    try:
        if extract_parameters(text).type is Type.ID:
            return text
    except (InvalidHashError, ValueError):
        pass
    problem = "holds no argon2id hash; delete it, and the next start makes a new token"
    raise ConfigError([Problem(problem, "admin token", str(path))])


@dataclass(frozen=True, slots=True)
class Attempt:
    """``retry_after``: seconds to wait because of too many failures; then nothing was checked."""

    ok: bool
    retry_after: float = 0.0


class Verifier:
    """Checks tokens against the hash in ``path``, which is read once.

    Raises:
        ConfigError, OSError: there is no usable hash.
    """

    def __init__(self, path: Path, clock: Clock | None = None, ttl: float = CACHE_SECONDS) -> None:
        self._hash = _stored(path)
        self._clock = clock or SystemClock()
        self._ttl = ttl
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._limit = FailureLimit(self._clock)
        # one thread: guessing costs one core at most, and 19 MiB
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="admin-token")
        self._waiting = 0

    async def verify(self, token: str) -> bool:
        """Whether this is the token, however often it was asked."""
        return self._remembered(token) or await self._check(token)

    async def attempt(self, token: str, address: str) -> Attempt:
        """Check a token from a client. After ten failures in a minute the address has to wait.

        A token that was right a short while ago passes even then: a script with a stale token must not lock out
        everyone behind the same address.
        """
        if self._remembered(token):
            return Attempt(ok=True)
        wait = self._limit.wait(address) or (1.0 if self._waiting >= _WAITING else 0.0)
        if wait:
            return Attempt(ok=False, retry_after=wait)
        # counted before the check: guesses sent all at once must not each see the count from before
        self._limit.failed(address)
        ok = await self._check(token)
        if ok:
            self._limit.forgive(address)
        return Attempt(ok)

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _check(self, token: str) -> bool:
        if not token or len(token) > MAX_LENGTH:
            return False
        self._waiting += 1
        try:
            ok = await asyncio.get_running_loop().run_in_executor(self._executor, _matches, self._hash, token)
        finally:
            self._waiting -= 1
        if ok:
            self._remember(token)
        return ok

    def _mac(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode("utf-8", "surrogatepass"), "sha256")

    def _remembered(self, token: str) -> bool:
        return len(token) <= MAX_LENGTH and self._known.get(self._mac(token), 0.0) > self._clock.monotonic()

    def _remember(self, token: str) -> None:
        self._known[self._mac(token)] = self._clock.monotonic() + self._ttl
        if len(self._known) > _CACHED:
            self._known.popitem(last=False)


def _matches(stored: str, token: str) -> bool:
    try:
        return _HASHER.verify(stored, token)
    except VerificationError:
        return False
    except UnicodeEncodeError:
        return False
