"""Name resolution: static hosts, then the system's getaddrinfo in a bounded pool of threads, behind a bounded cache."""

import asyncio
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from appliance.config.resolver import SystemResolver as SystemResolverConfig
from appliance.domain.clock import Clock
from appliance.domain.errors import UpstreamError
from appliance.domain.reason import Reason
from appliance.domain.target import parse_ip

CACHE_SIZE: Final = 10_000
MAX_PENDING: Final = 1_000
"""Lookups under way or waiting for a thread. Beyond it a new name fails at once instead of queueing behind a dead server."""
THREADS: Final = 16

type Lookup = Callable[[str], Sequence[str]]
"""Blocking; addresses in the system's order. Raises OSError."""


class Resolver(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def queries(self) -> Counter[str]:
        """Names asked for since the process started: ``ok``, ``cached`` (static hosts, too), ``failed``."""
        ...

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Addresses of a normalised host, never empty. Raises UpstreamError(DNS_FAILED)."""
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    addresses: tuple[str, ...]
    error: str = ""
    expires: float = 0.0


def system_lookup(host: str) -> list[str]:
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class SystemResolver:
    """One per ``resolver`` node. Caches are never shared: two resolvers may know the same name differently.

    getaddrinfo tells no TTL, so the configuration's ``cache_ttl`` and ``negative_ttl`` (seconds) stand for it. One lookup
    per name is under way at a time, and it outlives the tasks that wait for it: its answer still fills the cache.
    """

    def __init__(
        self, config: SystemResolverConfig, executor: ThreadPoolExecutor, clock: Clock, lookup: Lookup = system_lookup
    ) -> None:
        self.name = config.name
        self.queries = Counter[str]()
        self._static = {host: _Answer(tuple(addresses)) for host, addresses in config.hosts.items()}
        self._config, self._executor, self._clock, self._lookup = config, executor, clock, lookup
        self._cache: OrderedDict[str, _Answer] = OrderedDict()
        self._flights: dict[str, asyncio.Future[_Answer]] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        if address := parse_ip(host):
            return (str(address),)
        try:
            known = self._known(host)
            answer = known or await self._wait(host)
            if not answer.addresses:
                raise UpstreamError(Reason.DNS_FAILED, f"{host}: {answer.error}")
        except UpstreamError:
            self.queries["failed"] += 1
            raise
        self.queries["cached" if known else "ok"] += 1
        return answer.addresses

    def _known(self, host: str) -> _Answer | None:
        if static := self._static.get(host):
            return static
        answer = self._cache.get(host)
        if answer is None or answer.expires <= self._clock.monotonic():
            return None
        self._cache.move_to_end(host)
        return answer

    async def _wait(self, host: str) -> _Answer:
        flight = self._flights.get(host)
        if flight is None:
            if len(self._flights) >= MAX_PENDING:
                raise UpstreamError(Reason.DNS_FAILED, f"{host}: more than {MAX_PENDING} lookups are waiting")
            flight = self._start(host)
        try:
            async with asyncio.timeout(self._config.timeout):
                return await asyncio.shield(flight)
        except TimeoutError as error:
            raise UpstreamError(Reason.DNS_FAILED, f"{host}: no answer in {self._config.timeout:g} s") from error

    def _start(self, host: str) -> asyncio.Future[_Answer]:
        flight = asyncio.get_running_loop().run_in_executor(self._executor, self._ask, host)
        self._flights[host] = flight
        flight.add_done_callback(lambda done: self._landed(host, done))
        return flight

    def _ask(self, host: str) -> _Answer:
        """In a thread."""
        try:
            addresses = tuple(self._lookup(host))
        except (OSError, UnicodeError) as error:
            return _Answer((), str(getattr(error, "strerror", None) or error))
        return _Answer(addresses, "" if addresses else "no address")

    def _landed(self, host: str, flight: asyncio.Future[_Answer]) -> None:
        self._flights.pop(host, None)
        if flight.cancelled() or flight.exception():
            return
        answer = flight.result()
        ttl = self._config.cache_ttl if answer.addresses else self._config.negative_ttl
        if ttl:
            self._cache[host] = _Answer(answer.addresses, answer.error, self._clock.monotonic() + ttl)
            self._cache.move_to_end(host)
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
