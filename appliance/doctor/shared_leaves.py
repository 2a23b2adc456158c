"""Redis: whether it answers, what it does when it is full, and whether what is put there can be opened again."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from appliance.app.paths import StatePaths
from appliance.app.shared_leaves import server
from appliance.config.redis import Redis as RedisNode
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok, warn
from appliance.domain.errors import ConfigError
from appliance.domain.target import parse_ip
from certs import sealing

PATIENCE: Final = 3.0
"""Seconds for one connection, and for one answer."""
ADVICE: Final = "until then every node signs for itself, and nothing outlives a restart; see docs/certificates.md"


def examine(config: AppConfig) -> Iterator[Finding]:
    """Nothing where the configuration names no Redis."""
    if config.redis is None:
        return
    yield _key(StatePaths(config.state_dir))
    yield from _server(config.redis)


def _key(paths: StatePaths) -> Finding:
    what, file = "redis key", paths.leaf_cache_key
    if not file.exists():
        return warn(what, f"{file} does not exist yet", "`arcus run` makes it; every other node needs a copy of it")
    try:
        sealing.load(file)
    except ConfigError as error:
        return fail(what, str(error), "chmod 600, or copy the file of another node")
    return ok(what, f"{file} opens; the other nodes need the same")


def _server(node: RedisNode) -> Iterator[Finding]:
    from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

    try:
        told, took = _ask(node)
    except (AuthenticationError, NoPermissionError, ResponseError) as error:
        yield fail("redis", f"{node.url} refuses us: {error}", "username and password_file in `redis`, or the ACL of that user")
    except (RedisError, OSError) as error:
        yield fail("redis", f"{node.url} cannot be used: {error}", ADVICE)
    else:
        yield ok("redis", f"{node.url} answers in {took:.0f} ms, version {told.get('redis_version', 'unknown')}")
        yield from _memory(told)
        yield _way(node)


def _ask(node: RedisNode) -> tuple[Mapping[str, Any], float]:
    from redis import Redis

    where = server(node)
    tls = {"ssl_ca_certs": str(where.ca_file) if where.ca_file else None} if node.url.startswith("rediss:") else {}
    client = Redis.from_url(
        node.url, username=where.username, password=where.password, protocol=2,
        socket_connect_timeout=PATIENCE, socket_timeout=PATIENCE, **tls,
    )  # fmt: skip
    with client:
        client.ping()
        began = time.monotonic()
        client.ping()
        took = (time.monotonic() - began) * 1000
        return {**client.info("server"), **client.info("memory")}, took


def _memory(told: Mapping[str, Any]) -> Iterator[Finding]:
    policy, most = str(told.get("maxmemory_policy", "")), int(told.get("maxmemory", 0))
    if not most:
        yield warn("redis memory", "has no bound: it can take all memory of its machine", "set maxmemory in redis.conf")
    elif policy == "noeviction":
        yield warn(
            "redis memory",
            f"maxmemory {most}, noeviction: when it is full it takes no more leaves",
            "set maxmemory-policy allkeys-lru, unless others keep there what must not be lost",
        )
    else:
        yield ok("redis memory", f"maxmemory {most}, {policy}")


def _way(node: RedisNode) -> Finding:
    if node.url.startswith("rediss:"):
        return ok("redis TLS", "its certificate is verified")
    ip = parse_ip(node.address.host) if node.address else None
    if node.address is None or node.address.host == "localhost" or (ip is not None and ip.is_loopback):
        return ok("redis TLS", "not needed on this machine")
    return warn("redis TLS", "none: anybody on the way can empty and fill the cache", "use rediss:// and ca_file")
