"""From a name and a password to a user, or to the reason why not.

Hashing is slow on purpose, so it is what an attacker makes us do. It runs off the event loop on a few threads, each
pair of name and password is computed once however many connections bring it, results are remembered, and both the
whole queue and one client's share of it are bounded.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from appliance.config.users import UserGroup
from appliance.domain.clock import Clock
from appliance.domain.errors import PolicyError
from appliance.domain.facts import UserFacts
from appliance.domain.reason import Reason
from appliance.identity import schemes
from appliance.identity.cache import VerdictCache
from appliance.identity.hashes import check, prepare
from appliance.identity.users import Group, User, prepare_group

MAX_PENDING: Final = 256
"""Checks waiting or running; above it new ones are refused. Some 9 s of work for one thread."""
MAX_PENDING_PER_CLIENT: Final = 16


@dataclass(frozen=True, slots=True)
class Result:
    """``user`` is set exactly when ``reason`` is OK and somebody logged in.

    ``delay``: seconds to wait before the answer is sent.
    """

    user: UserFacts | None
    reason: Reason
    detail: str = ""
    delay: float = 0.0


@dataclass(slots=True)
class Counters:
    """``cached`` + ``joined`` + ``checked`` + ``refused`` are all calls."""

    cached: int = 0
    joined: int = 0
    checked: int = 0
    refused: int = 0


class Authenticator:
    """Use from one event loop. ``cache`` may be that of a predecessor: a changed password has another key."""

    def __init__(
        self,
        user_groups: Iterable[UserGroup],
        clock: Clock,
        executor: Executor | None = None,
        *,
        cache: VerdictCache | None = None,
        concurrency: int | None = None,
        max_pending: int = MAX_PENDING,
        max_pending_per_client: int = MAX_PENDING_PER_CLIENT,
    ) -> None:
        """``concurrency``: checks computed at a time, whatever the executor allows; default half of the cores."""
        self._groups = {group.name: prepare_group(group) for group in user_groups}
        self._clock = clock
        self.cache = cache if cache is not None else VerdictCache(clock)
        self.counters = Counters()
        threads = concurrency or max(1, (os.process_cpu_count() or 1) // 2)
        self._own = None if executor else ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._executor = executor or self._own
        self._turn = asyncio.Semaphore(threads)
        self._flights: dict[bytes, asyncio.Task[bool]] = {}
        self._pending: Counter[str] = Counter()
        self._max_pending, self._max_per_client = max_pending, max_pending_per_client

    def close(self) -> None:
        """End our own threads; an executor that was handed in is left alone."""
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)

    def challenge(self, group: str) -> str:
        """The value of Proxy-Authenticate for this group."""
        known = self._groups.get(group)
        return schemes.challenge(known.realm if known else "")

    def anonymous(self, group: str) -> Result:
        """The answer to a request without credentials."""
        known = self._groups.get(group)
        return Result(None, Reason.OK if known is not None and known.anonymous else Reason.AUTH_REQUIRED)

    async def basic(self, group: str, username: str, password: str, client_ip: str) -> Result:
        """Check a name and a password.

        AUTH_FAILED says nothing about which of the two was wrong. USER_BLOCKED and SOURCE_DENIED are told only to
        somebody who knows the password. RATE_LIMITED and RESOURCE_EXHAUSTED: too many checks are waiting.
        """
        known = self._groups.get(group)
        if known is None:
            return Result(None, Reason.AUTH_FAILED, "no such user group")
        user = known.users.get(prepare(username))
        try:
            fits = await self._verify(known, user, username, password, client_ip)
        except PolicyError as error:
            self.counters.refused += 1
            return Result(None, error.reason, error.detail)
        if user is None or not fits:
            return Result(None, Reason.AUTH_FAILED)
        return self._admit(user, client_ip)

    def _admit(self, user: User, client_ip: str) -> Result:
        if user.is_blocked(self._clock.now()):
            return Result(None, Reason.USER_BLOCKED, f"user {user.facts.name}", user.delay)
        if not user.may_come_from(client_ip):
            return Result(None, Reason.SOURCE_DENIED, f"user {user.facts.name}")
        return Result(user.facts, Reason.OK)

    async def _verify(self, group: Group, user: User | None, username: str, password: str, ip: str) -> bool:
        stored = user.secret.stored if user and user.secret else ""
        key = self.cache.key(group.name, prepare(username), stored, prepare(password))
        remembered = self.cache.get(key)
        if remembered is not None:
            self.counters.cached += 1
            return remembered
        flight = self._flights.get(key)
        if flight is None:
            flight = self._start(key, group, user, password, ip)
        else:
            self.counters.joined += 1
        # One caller who hangs up must not take the answer away from the others.
        return await asyncio.shield(flight)

    def _start(self, key: bytes, group: Group, user: User | None, password: str, ip: str) -> asyncio.Task[bool]:
        if len(self._flights) >= self._max_pending:
            raise PolicyError(Reason.RESOURCE_EXHAUSTED, "too many password checks are waiting")
        if self._pending[ip] >= self._max_per_client:
            raise PolicyError(Reason.RATE_LIMITED, "too many password checks by this client are waiting")
        self._pending[ip] += 1
        self.counters.checked += 1
        flight = self._flights[key] = asyncio.create_task(self._compute(key, group, user, password))
        flight.add_done_callback(lambda done: self._landed(key, ip, done))
        return flight

    async def _compute(self, key: bytes, group: Group, user: User | None, password: str) -> bool:
        secret = user.secret if user else None
        async with self._turn:
            loop = asyncio.get_running_loop()
            fits = await loop.run_in_executor(self._executor, check, secret, group.stand_in, password)
        self.cache.put(key, fits, group.ttl)
        return fits

    def _landed(self, key: bytes, ip: str, flight: asyncio.Task[bool]) -> None:
        del self._flights[key]
        self._pending[ip] -= 1
        if not self._pending[ip]:
            del self._pending[ip]
        if not flight.cancelled():
            flight.exception()  # seen, also when every caller has gone
