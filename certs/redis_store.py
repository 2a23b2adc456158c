"""Redis as a tier that may be away: bounded in time, asked only while it is known to answer, and never a reason to fail.

A task asks it once a second whether it is there. The traffic path waits for it at most its deadline, three times in a row at
most: then it is away, and costs nothing until it has answered that task within the deadline.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from appliance.domain.clock import Clock, SystemClock
from certs.tiers import Away

logger = logging.getLogger(__name__)

PATIENCE = 3
"""Failures in a row after which it is away."""
INTERVAL = 1.0
CONNECT = 1.0
"""Seconds for a connection to be made, which the traffic path does not wait for."""
CONNECTIONS = 16
_MAX_TEXT = 200

type Told = Callable[[str, str, float], None]
"""Called with the operation, ``ok`` or the kind of failure, and the seconds it took."""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """``url``: redis, rediss or unix, without credentials. ``ca_file``: roots for rediss; None: the system's."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    deadline: float = 0.1
    """Seconds that one operation may take."""


class RedisStore:
    """``certs.tiers.Store``. Use from one event loop only; ``start`` it there."""

    def __init__(
        self, server: RedisServer, clock: Clock | None = None, told: Told = lambda _operation, _result, _seconds: None
    ) -> None:
        self._deadline = server.deadline
        self._clock = clock or SystemClock()
        self._told = told
        self._client = _client(server)
        self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self.trouble = "not connected yet"
        """Why it is not used; empty while it is."""
        self.refusal = ""
        """What it does not do for us although it answers: no memory left, read only, no permission."""

    @property
    def available(self) -> bool:
        return not self.trouble

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.aclose()

    async def get(self, key: str, limit: int) -> bytes | None:
        """As ``Store`` says. An absent value and an empty one are the same."""
        value: bytes = await self._do("get", lambda: self._text(key, limit))
        return value or None

    async def _text(self, key: str, limit: int) -> Any:
        try:
            return await self._client.getrange(key, 0, limit - 1)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return b"\0"  # whatever it is, nobody will believe it, and it will be replaced

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        await self._do("put", lambda: self._client.set(key, value, px=int(seconds * 1000)))

    async def claim(self, key: str, seconds: float) -> bool:
        return bool(await self._do("claim", lambda: self._client.set(key, b"1", px=int(seconds * 1000), nx=True)))

    async def release(self, key: str) -> None:
        await self._do("release", lambda: self._client.delete(key))

    async def _do(self, operation: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if self.trouble:
            raise Away(self.trouble)
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._deadline):
                result = await call()
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(operation, error, began)
            raise Away(_text(error)) from error
        self._failures = 0
        self.refusal = "" if operation == "put" else self.refusal
        self._told(operation, "ok", self._clock.monotonic() - began)
        return result

    def _failed(self, operation: str, error: Exception, began: float) -> None:
        self._told(operation, _kind(error), self._clock.monotonic() - began)
        if isinstance(error, ResponseError):  # it is there, and says no
            self.refusal = _text(error)
            return
        self._failures += 1
        if self._failures >= PATIENCE:
            self._away(_text(error))

    def _away(self, why: str) -> None:
        if not self.trouble:
            logger.error("redis is away; leaves are kept by this process alone: %s", why)
        self.trouble = why

    # -- whether it is there --

    async def _watch(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(INTERVAL)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(CONNECT):
                await self._client.ping()
            async with asyncio.timeout(self._deadline):
                await self._client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            self._told("ping", _kind(error), 0.0)
            self._away(_text(error))
            return
        if self.trouble:
            logger.info("redis is there")
        self.trouble, self._failures = "", 0


def _client(server: RedisServer) -> Redis:
    tls: dict[str, Any] = {}
    if server.url.startswith("rediss:"):
        tls = {"ssl_ca_certs": str(server.ca_file) if server.ca_file else None, "ssl_check_hostname": True}
    # a blocking pool: to wait for one of a few connections is better than to make a thousand
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        server.url,
        username=server.username, password=server.password, protocol=2, client_name="arcus",
        max_connections=CONNECTIONS, timeout=max(CONNECT, server.deadline),
        socket_connect_timeout=CONNECT, socket_timeout=CONNECT,
        # to ask again is the caller's to decide, within its deadline
        retry=Retry(NoBackoff(), 0), retry_on_timeout=False,
        **tls,
    )  # fmt: skip
    return Redis.from_pool(pool)


def _kind(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ResponseError):
        return "refused"
    return "connection" if isinstance(error, RedisConnectionError | OSError) else "protocol"


def _text(error: Exception) -> str:
    """For health and logs. The library's texts name addresses and never a password."""
    if isinstance(error, TimeoutError):
        return "no answer within the deadline"
    return f"{type(error).__name__}: {error}"[:_MAX_TEXT]
