import asyncio
import logging
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appliance.config.users import UserGroup
from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from appliance.identity.authenticator import Authenticator
from tests.appliance.identity.groups import group, token_user, user

IP = "10.0.0.1"


class CountingExecutor(Executor):
    """Runs in threads, counts, holds work back until it is released, and knows how much ran at once."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(8)
        self.gate = threading.Event()
        self.gate.set()
        self.submitted = self.running = self.most = 0
        self._lock = threading.Lock()

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        return self._threads.submit(self._run, function, *args)

    def _run(self, function: Any, *args: Any) -> Any:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.gate.wait(30)
        try:
            return function(*args)
        finally:
            with self._lock:
                self.running -= 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.gate.set()
        self._threads.shutdown()


@pytest.fixture
def executor():
    made = CountingExecutor()
    yield made
    made.shutdown()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


STAFF = group(
    user("alice", "wonder:land", dst_port_filter=[80, 443]),
    user("bob", "builder", dst_host_filter_set={"exact": ["one.test"], "child": ["*.two.test", "three.test"]}),
    token_user("tom", "imported"),
    user("carol", "pw", source_ip_filter=["10.0.0.0/8", "2001:db8::/32"]),
    user("nowhere", "pw", source_ip_filter=[]),
    realm="The Staff",
)


async def test_usr_01_right_password_is_the_user(executor, clock) -> None:
    found = await Authenticator([STAFF], clock, executor).basic("staff", "alice", "wonder:land", IP)
    assert found.reason is Reason.OK
    assert found.user is not None
    assert (found.user.name, found.user.group, found.user.dst_ports) == ("alice", "staff", frozenset({80, 443}))


@pytest.mark.parametrize(
    ("name", "password"),
    [("alice", "wrong"), ("alice", ""), ("Alice", "wonder:land"), ("nobody", "wonder:land"), ("bob", "wonder:land"), ("", "")],
)
async def test_usr_01_anything_else_is_auth_failed(executor, clock, name: str, password: str) -> None:
    found = await Authenticator([STAFF], clock, executor).basic("staff", name, password, IP)
    assert (found.user, found.reason, found.reason.status) == (None, Reason.AUTH_FAILED, 407)


@pytest.mark.security
async def test_ten_12_a_password_is_good_in_its_own_group_only(executor, clock) -> None:
    authenticator = Authenticator([STAFF, group(user("zoe", "pw"), name="others")], clock, executor)
    assert (await authenticator.basic("staff", "alice", "wonder:land", IP)).reason is Reason.OK
    assert (await authenticator.basic("others", "alice", "wonder:land", IP)).reason is Reason.AUTH_FAILED
    assert (await authenticator.basic("no-such-group", "alice", "wonder:land", IP)).reason is Reason.AUTH_FAILED


async def test_usr_01_challenge_and_anonymous(executor, clock) -> None:
    authenticator = Authenticator([STAFF, group(name="open", anonymous=True)], clock, executor)
    assert authenticator.challenge("staff") == 'Basic realm="The Staff", charset="UTF-8"'
    assert authenticator.anonymous("staff").reason is Reason.AUTH_REQUIRED
    assert authenticator.anonymous("open").reason is Reason.OK
    assert authenticator.anonymous("no-such-group").reason is Reason.AUTH_REQUIRED
    assert (await authenticator.basic("open", "anyone", "pw", IP)).reason is Reason.AUTH_FAILED


async def test_usr_02_t11_imported_token(executor, clock) -> None:
    authenticator = Authenticator([STAFF], clock, executor)
    assert (await authenticator.basic("staff", "tom", "imported", IP)).reason is Reason.OK
    assert (await authenticator.basic("staff", "tom", "Imported", IP)).reason is Reason.AUTH_FAILED


async def test_usr_07_host_filter_reaches_the_facts_with_suffixes(executor, clock) -> None:
    found = await Authenticator([STAFF], clock, executor).basic("staff", "bob", "builder", IP)
    assert found.user is not None
    assert found.user.dst_hosts == frozenset({"one.test", ".two.test", ".three.test"})
    assert found.user.dst_ports is None


@pytest.mark.security
@pytest.mark.parametrize(
    ("name", "password", "ip", "reason"),
    [
        ("carol", "pw", "10.9.9.9", Reason.OK),
        ("carol", "pw", "::ffff:10.9.9.9", Reason.OK),
        ("carol", "pw", "2001:db8::5", Reason.OK),
        ("carol", "pw", "192.0.2.1", Reason.SOURCE_DENIED),
        ("carol", "bad", "192.0.2.1", Reason.AUTH_FAILED),
        ("nowhere", "pw", "10.9.9.9", Reason.SOURCE_DENIED),
    ],
)
async def test_usr_08_source_addresses(executor, clock, name: str, password: str, ip: str, reason: Reason) -> None:
    found = await Authenticator([STAFF], clock, executor).basic("staff", name, password, ip)
    assert found.reason is reason
    assert (found.user is None) == (reason is not Reason.OK)


async def test_usr_08_a_remembered_password_does_not_open_another_address(executor, clock) -> None:
    authenticator = Authenticator([STAFF], clock, executor)
    assert (await authenticator.basic("staff", "carol", "pw", "10.9.9.9")).reason is Reason.OK
    assert (await authenticator.basic("staff", "carol", "pw", "192.0.2.1")).reason is Reason.SOURCE_DENIED
    assert authenticator.counters.cached == 1


def blocked(clock: ManualClock, seconds: float | None, zone: bool = True) -> UserGroup:
    until = None if seconds is None else datetime.fromtimestamp(clock.now(), UTC) + timedelta(seconds=seconds)
    until = until if until is None or zone else until.replace(tzinfo=None)
    return group(user("mallory", "pw", blocked=True, block_config={"delay": "3s", "until": until}))


@pytest.fixture
def far_east(monkeypatch):
    """A machine whose local time is nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize("zone", [True, False])
async def test_usr_11_blocked_with_delay_until_the_end(executor, clock, zone: bool) -> None:
    authenticator = Authenticator([blocked(clock, 60, zone)], clock, executor)
    found = await authenticator.basic("staff", "mallory", "pw", IP)
    assert (found.user, found.reason, found.reason.status, found.delay) == (None, Reason.USER_BLOCKED, 403, 3.0)
    clock.advance(59.9)
    assert (await authenticator.basic("staff", "mallory", "pw", IP)).reason is Reason.USER_BLOCKED
    clock.advance(0.2)
    assert (await authenticator.basic("staff", "mallory", "pw", IP)).reason is Reason.OK


async def test_usr_11_blocked_without_end(executor, clock) -> None:
    authenticator = Authenticator([blocked(clock, None)], clock, executor)
    clock.advance(10 * 365 * 86400.0)
    assert (await authenticator.basic("staff", "mallory", "pw", IP)).reason is Reason.USER_BLOCKED


@pytest.mark.security
async def test_usr_11_only_who_knows_the_password_learns_of_the_block(executor, clock) -> None:
    found = await Authenticator([blocked(clock, None)], clock, executor).basic("staff", "mallory", "guess", IP)
    assert (found.reason, found.delay) == (Reason.AUTH_FAILED, 0.0)


async def test_results_are_remembered_and_forgotten(executor, clock) -> None:
    authenticator = Authenticator([group(user("alice", "pw"), cache_ttl="60s")], clock, executor)
    for _ in range(5):
        await authenticator.basic("staff", "alice", "pw", IP)
        await authenticator.basic("staff", "alice", "wrong", IP)
        await authenticator.basic("staff", "nobody", "wrong", IP)
    assert executor.submitted == 3
    clock.advance(59.0)
    await authenticator.basic("staff", "alice", "pw", IP)
    await authenticator.basic("staff", "alice", "wrong", IP)
    assert executor.submitted == 4
    clock.advance(2.0)
    await authenticator.basic("staff", "alice", "pw", IP)
    assert executor.submitted == 5


@pytest.mark.security
async def test_a_changed_password_is_not_answered_from_a_shared_memory(executor, clock) -> None:
    before = Authenticator([group(user("alice", "old"))], clock, executor)
    assert (await before.basic("staff", "alice", "old", IP)).reason is Reason.OK
    after = Authenticator([group(user("alice", "new"))], clock, executor, cache=before.cache)
    assert (await after.basic("staff", "alice", "old", IP)).reason is Reason.AUTH_FAILED
    gone = Authenticator([group()], clock, executor, cache=before.cache)
    assert (await gone.basic("staff", "alice", "old", IP)).reason is Reason.AUTH_FAILED


async def settle(executor: CountingExecutor, running: int) -> None:
    async with asyncio.timeout(30):
        while executor.running < running:
            await asyncio.sleep(0.001)


async def test_the_same_password_is_computed_once_at_a_time(executor, clock) -> None:
    authenticator = Authenticator([STAFF], clock, executor)
    executor.gate.clear()
    asking = [asyncio.create_task(authenticator.basic("staff", "alice", "wonder:land", IP)) for _ in range(50)]
    await settle(executor, 1)
    executor.gate.set()
    assert {result.reason for result in await asyncio.gather(*asking)} == {Reason.OK}
    assert executor.submitted == 1
    assert authenticator.counters.joined == 49


async def test_a_caller_who_leaves_does_not_take_the_answer_along(executor, clock) -> None:
    authenticator = Authenticator([STAFF], clock, executor)
    executor.gate.clear()
    first = asyncio.create_task(authenticator.basic("staff", "alice", "wonder:land", IP))
    await settle(executor, 1)
    second = asyncio.create_task(authenticator.basic("staff", "alice", "wonder:land", IP))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    executor.gate.set()
    assert (await second).reason is Reason.OK
    assert executor.submitted == 1


@pytest.mark.security
async def test_a_brute_forcer_gets_one_core_and_a_bounded_queue(executor, clock) -> None:
    authenticator = Authenticator([STAFF], clock, executor, concurrency=1, max_pending=8, max_pending_per_client=4)
    executor.gate.clear()
    guesses = [asyncio.create_task(authenticator.basic("staff", "alice", f"guess {n}", IP)) for n in range(40)]
    await settle(executor, 1)
    other = asyncio.create_task(authenticator.basic("staff", "bob", "builder", "10.0.0.2"))
    await asyncio.sleep(0)
    executor.gate.set()
    reasons = [result.reason for result in await asyncio.gather(*guesses)]
    assert reasons.count(Reason.AUTH_FAILED) == 4
    assert reasons.count(Reason.RATE_LIMITED) == 36
    assert (await other).reason is Reason.OK
    assert executor.most == 1
    assert authenticator.counters.refused == 36


@pytest.mark.security
async def test_many_clients_together_meet_the_bound_of_the_queue(executor, clock) -> None:
    authenticator = Authenticator([STAFF], clock, executor, concurrency=1, max_pending=8)
    executor.gate.clear()
    asking = [asyncio.create_task(authenticator.basic("staff", "alice", "x", f"10.0.0.{n}")) for n in range(20)]
    asking += [asyncio.create_task(authenticator.basic("staff", f"u{n}", "x", f"10.0.0.{n}")) for n in range(20)]
    await settle(executor, 1)
    executor.gate.set()
    reasons = [result.reason for result in await asyncio.gather(*asking)]
    assert reasons.count(Reason.RESOURCE_EXHAUSTED) == 13
    assert (await authenticator.basic("staff", "alice", "wonder:land", IP)).reason is Reason.OK


@pytest.mark.security
async def test_a_failing_executor_lets_nobody_in_and_is_not_remembered(clock) -> None:
    class Broken(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            raise RuntimeError("no threads")

    authenticator = Authenticator([STAFF], clock, Broken(1))
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await authenticator.basic("staff", "alice", "wonder:land", IP)
    assert len(authenticator.cache) == 0


@pytest.mark.security
async def test_an_unusable_hash_is_logged_without_itself_and_never_fits(executor, clock, caplog) -> None:
    caplog.set_level(logging.WARNING)
    unusable = group({"name": "dave", "password_hash": "$argon2id$v=19$m=65536,t=3,p=4$..."})
    found = await Authenticator([unusable], clock, executor).basic("staff", "dave", "", IP)
    assert found.reason is Reason.AUTH_FAILED
    assert "dave" in caplog.text
    assert "m=65536" not in caplog.text
    assert executor.submitted == 1


async def test_its_own_threads_end_with_it(clock) -> None:
    authenticator = Authenticator([STAFF], clock)
    assert (await authenticator.basic("staff", "alice", "wonder:land", IP)).reason is Reason.OK
    authenticator.close()
    with pytest.raises(RuntimeError):
        await authenticator.basic("staff", "alice", "another", IP)
