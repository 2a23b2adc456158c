"""Redis as it is, and as it should not be: real servers, killed, stopped, full, behind TLS, with passwords (RDS-07)."""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from certs.redis_store import PATIENCE, RedisServer, RedisStore
from certs.tiers import Away
from tests.ports import free_port
from tests.redis_server import RedisProcess, redis_server, tls_options

pytestmark = pytest.mark.integration
DEADLINE = 0.3
"""Long enough for a busy machine, short enough to be waited for."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with redis_server(tmp_path) as server:
        yield server


@dataclass
class Told:
    said: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, operation: str, result: str, _seconds: float) -> None:
        self.said.append((operation, result))


@asynccontextmanager
async def store(url: str, told: Told | None = None, *, wait: bool = True, **options: Any) -> AsyncIterator[RedisStore]:
    made = RedisStore(RedisServer(url, deadline=options.pop("deadline", DEADLINE), **options), told=told or Told())
    made.start()
    try:
        if wait:
            await until(made, available=True)
        yield made
    finally:
        await made.close()


async def until(made: RedisStore, *, available: bool) -> None:
    async with asyncio.timeout(20):
        while made.available is not available:
            await asyncio.sleep(0.01)


async def test_rds_07_what_is_put_can_be_got_until_it_ends(shared: RedisProcess) -> None:
    told = Told()
    async with store(shared.url, told) as made:
        assert await made.get("absent", 10) is None
        await made.put("key", b"\0value", 100)
        assert await made.get("key", 100) == b"\0value"
        assert await made.get("key", 3) == b"\0va", "no more is read than is asked for"
        with shared.client() as client:
            assert 99_000 < client.pttl("key") <= 100_000
            client.pexpire("key", 1)
        await asyncio.sleep(0.01)
        assert await made.get("key", 100) is None
    assert told.said == [("get", "ok"), ("put", "ok"), ("get", "ok"), ("get", "ok"), ("get", "ok")]


async def test_a_claim_is_one_s_own_until_it_is_released_or_ends(shared: RedisProcess) -> None:
    async with store(shared.url) as one, store(shared.url) as other:
        assert [await one.claim("lock", 100), await other.claim("lock", 100)] == [True, False]
        await one.release("lock")
        assert await other.claim("lock", 0.01)
        await asyncio.sleep(0.05)
        assert await one.claim("lock", 100)


async def test_hundreds_at_once_share_a_few_connections(shared: RedisProcess) -> None:
    async with store(shared.url, deadline=30) as made:
        await made.put("many", b"x", 100)
        assert await asyncio.gather(*(made.get("many", 9) for _ in range(300))) == [b"x"] * 300
        with shared.client() as client:
            assert len(client.client_list()) < 40
        await until(made, available=True)


async def test_rds_07_a_server_that_is_not_there_costs_nothing_and_is_found_when_it_comes(tmp_path: Path) -> None:
    late = RedisProcess(tmp_path)
    async with store(late.url, wait=False) as made:
        with pytest.raises(Away):
            await made.get("key", 10)
        late.start()
        try:
            await until(made, available=True)
            await made.put("key", b"x", 10)
        finally:
            late.kill()
        await until(made, available=False)
        assert "127.0.0.1" in made.trouble or "Connection closed" in made.trouble


async def test_rds_07_a_server_that_dies_is_away_and_one_that_comes_back_is_used(redis: RedisProcess) -> None:
    async with store(redis.url) as made:
        for _ in range(3):  # flapping
            await made.put("key", b"x", 10)
            redis.kill()
            for _ in range(PATIENCE):
                with pytest.raises(Away):
                    await made.get("key", 10)
            assert not made.available
            redis.start()
            await until(made, available=True)


async def test_rds_07_a_server_that_hangs_holds_nobody_longer_than_the_deadline(redis: RedisProcess) -> None:
    told = Told()
    async with store(redis.url, told) as made:
        await made.get("key", 10)
        with redis.stopped():
            loop = asyncio.get_running_loop()
            began = loop.time()
            while made.available:
                with pytest.raises(Away):
                    await made.get("key", 10)
            assert loop.time() - began < 20 * DEADLINE, "and not for ever"
            assert "no answer within the deadline" in made.trouble
            before = len(told.said)
            for _ in range(1000):
                with pytest.raises(Away):
                    await made.get("key", 10)
            assert len(told.said) - before <= 2, "nobody asks, but the one whose task it is"
        await until(made, available=True)
        assert await made.get("key", 10) is None
    assert ("get", "timeout") in told.said


async def test_a_caller_that_goes_away_leaves_no_half_read_answer_behind(redis: RedisProcess) -> None:
    async with store(redis.url, deadline=5) as made:
        await made.put("a", b"a" * 10, 10)
        await made.put("b", b"b" * 10, 10)
        with redis.stopped():
            asking = asyncio.create_task(made.get("a", 10))
            await asyncio.sleep(0.05)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert await made.get("b", 10) == b"b" * 10


# -- refusals --


async def test_passwords(tmp_path: Path) -> None:
    with redis_server(tmp_path, requirepass="s3cret-of-redis") as redis:
        async with store(redis.url, password="s3cret-of-redis") as made:
            await made.put("key", b"x", 10)
        for options in ({}, {"password": "wr0ng-guess"}, {"username": "nobody", "password": "s3cret-of-redis"}):
            async with store(redis.url, wait=False, **options) as made:
                async with asyncio.timeout(10):
                    while made.trouble == "not connected yet":
                        await asyncio.sleep(0.01)
                assert "Authentication" in made.trouble
                assert "s3cret" not in made.trouble
                assert "wr0ng" not in made.trouble
                assert "s3cret" not in repr(RedisServer(redis.url, **options))


@pytest.mark.security
async def test_a_user_needs_no_more_rights_than_the_manual_says(redis: RedisProcess) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    commands = re.search(r"An ACL user needs\s+`([^`]+)` on `([^`]+)`", manual)
    assert commands is not None
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "arcus", "on", ">pw", commands[2], *commands[1].split())
    async with store(redis.url, username="arcus", password="pw") as made:
        await made.put("cert:cache:x", b"1", 10)
        assert await made.get("cert:cache:x", 9) == b"1"
        assert await made.claim("cert:lock:x", 1)
        await made.release("cert:lock:x")
        with pytest.raises(Away, match="NoPermission"):
            await made.put("another", b"1", 10)
        assert made.available
        assert "NoPermission" in made.refusal


async def test_a_server_that_takes_nothing_more_is_still_read(tmp_path: Path) -> None:
    told = Told()
    with redis_server(tmp_path) as redis:
        async with store(redis.url, told) as made:
            await made.put("key", b"x", 100)
            with redis.client() as client:
                client.config_set("maxmemory", "1")
            for _ in range(PATIENCE + 1):
                with pytest.raises(Away):
                    await made.put("other", b"x", 100)
            assert "memory" in made.refusal
            assert await made.get("key", 10) == b"x"
            assert made.available
            with redis.client() as client:
                client.config_set("maxmemory", "0")
            await made.put("other", b"x", 100)
            assert made.refusal == ""
    assert told.said.count(("put", "refused")) == PATIENCE + 1


@pytest.mark.security
async def test_a_value_of_another_type_is_something_nobody_believes(shared: RedisProcess) -> None:
    with shared.client() as client:
        client.delete("list")
        client.rpush("list", "x")
    async with store(shared.url) as made:
        assert await made.get("list", 10) == b"\0"
        await made.put("list", b"replaced", 10)
        assert await made.get("list", 10) == b"replaced"


# -- TLS --


@pytest.mark.security
async def test_rediss_is_verified(tmp_path: Path) -> None:
    ca, port = trustme.CA(), free_port()
    with redis_server(tmp_path, **tls_options(tmp_path, ca, port)):
        url = f"rediss://127.0.0.1:{port}/0"
        async with store(url, ca_file=tmp_path / "roots.pem") as made:
            await made.put("key", b"x", 10)
            assert await made.get("key", 10) == b"x"
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
        for roots in (None, other):
            async with store(url, wait=False, ca_file=roots) as made:
                async with asyncio.timeout(10):
                    while made.trouble == "not connected yet":
                        await asyncio.sleep(0.01)
                assert "certificate verify failed" in made.trouble
        async with store(f"rediss://localhost:{port}/0", wait=False, ca_file=tmp_path / "roots.pem") as made:
            async with asyncio.timeout(10):
                while made.trouble == "not connected yet":
                    await asyncio.sleep(0.01)
            assert "Hostname mismatch" in made.trouble or "certificate verify failed" in made.trouble


async def test_a_local_socket() -> None:
    with tempfile.TemporaryDirectory() as short, redis_server(Path(short), unixsocket=f"{short}/r.sock"):
        async with store(f"unix://{short}/r.sock") as made:
            await made.put("key", b"x", 10)
            assert await made.get("key", 10) == b"x"
