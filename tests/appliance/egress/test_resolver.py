"""DNS-04: the cache and its bounds."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from appliance.domain.clock import ManualClock
from appliance.domain.errors import UpstreamError
from appliance.domain.reason import Reason
from appliance.egress import resolver as module
from appliance.egress.resolver import SystemResolver, system_lookup
from tests.appliance.egress.ways import resolver

type Make = Callable[..., SystemResolver]


class Names:
    """A lookup that counts, and can be held."""

    def __init__(self, answers: dict[str, Sequence[str]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        self.gate.wait(20)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.answers[host]


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    table = Names({"a.test": ["192.0.2.1", "2001:db8::1"], "empty.test": []})
    yield table
    table.gate.set()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def make(names: Names, clock: ManualClock) -> AsyncIterator[Make]:
    executor = ThreadPoolExecutor(4)

    def build(**fields: Any) -> SystemResolver:
        return SystemResolver(resolver(**fields), executor, clock, names)

    yield build
    names.gate.set()
    executor.shutdown()


async def fails(subject: SystemResolver, host: str) -> str:
    with pytest.raises(UpstreamError) as caught:
        await subject.resolve(host)
    assert caught.value.reason is Reason.DNS_FAILED
    return caught.value.detail


async def test_static_hosts_come_first(make: Make, names: Names) -> None:
    subject = make(hosts={"a.test": ["127.0.0.1"]})
    assert await subject.resolve("a.test") == ("127.0.0.1",)
    assert names.asked == []


async def test_address_literals_pass(make: Make, names: Names) -> None:
    subject = make()
    assert await subject.resolve("192.0.2.7") == ("192.0.2.7",)
    assert await subject.resolve("2001:db8::7") == ("2001:db8::7",)
    assert names.asked == []


async def test_dns_04_the_second_lookup_is_served_from_the_cache(make: Make, names: Names, clock: ManualClock) -> None:
    subject = make(cache_ttl=30)
    for _ in range(2):
        assert await subject.resolve("a.test") == ("192.0.2.1", "2001:db8::1")
    clock.advance(29.9)
    await subject.resolve("a.test")
    assert names.asked == ["a.test"]
    clock.advance(0.1)
    await subject.resolve("a.test")
    assert names.asked == ["a.test"] * 2


@pytest.mark.parametrize("host", ["nowhere.test", "empty.test"])
async def test_dns_04_failures_are_cached_for_less(make: Make, names: Names, clock: ManualClock, host: str) -> None:
    subject = make(cache_ttl=30, negative_ttl=5)
    first = await fails(subject, host)
    assert await fails(subject, host) == first
    assert names.asked == [host]
    clock.advance(5)
    await fails(subject, host)
    assert names.asked == [host] * 2


async def test_dns_04_the_cache_is_bounded(make: Make, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_SIZE", 3)
    names.answers = {f"{letter}.test": ["192.0.2.1"] for letter in "abcd"}
    subject = make()
    for letter in "abcad":  # b is the one used longest ago
        await subject.resolve(f"{letter}.test")
    names.asked.clear()
    for letter in "cadb":
        await subject.resolve(f"{letter}.test")
    assert names.asked == ["b.test"]


async def test_one_lookup_for_many_tasks(make: Make, names: Names) -> None:
    subject = make()
    names.gate.clear()
    tasks = [asyncio.create_task(subject.resolve("a.test")) for _ in range(50)]
    await asyncio.sleep(0.02)
    names.gate.set()
    assert set(await asyncio.gather(*tasks)) == {("192.0.2.1", "2001:db8::1")}
    assert names.asked == ["a.test"]


async def test_a_cancelled_task_does_not_take_the_lookup_with_it(make: Make, names: Names) -> None:
    subject = make()
    names.gate.clear()
    first, second = (asyncio.create_task(subject.resolve("a.test")) for _ in range(2))
    await asyncio.sleep(0.02)
    first.cancel()
    await asyncio.sleep(0)
    names.gate.set()
    assert await second == ("192.0.2.1", "2001:db8::1")
    assert names.asked == ["a.test"]


async def test_a_slow_server_is_a_failure_and_its_late_answer_is_kept(make: Make, names: Names) -> None:
    subject = make(timeout=0.05)
    names.gate.clear()
    assert "no answer" in await fails(subject, "a.test")
    names.gate.set()
    for _ in range(200):
        await asyncio.sleep(0.01)
        if subject._known("a.test"):
            break
    assert await subject.resolve("a.test") == ("192.0.2.1", "2001:db8::1")
    assert names.asked == ["a.test"]


async def test_lookups_in_waiting_are_bounded(make: Make, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 2)
    subject = make()
    names.gate.clear()
    waiting = [asyncio.create_task(subject.resolve(host)) for host in ("a.test", "empty.test")]
    await asyncio.sleep(0.02)
    assert "more than 2 lookups" in await fails(subject, "c.test")
    names.gate.set()
    assert (await asyncio.gather(*waiting, return_exceptions=True))[0] == ("192.0.2.1", "2001:db8::1")
    assert "not known" in await fails(subject, "c.test")


async def test_esc_32_two_resolvers_know_a_name_differently(make: Make) -> None:
    one, two = make(hosts={"split.test": ["10.0.0.1"]}), make(hosts={"split.test": ["10.0.0.2"]})
    assert (await one.resolve("split.test"), await two.resolve("split.test")) == (("10.0.0.1",), ("10.0.0.2",))


def test_the_system_knows_localhost() -> None:
    assert {"127.0.0.1", "::1"} & set(system_lookup("localhost"))


@pytest.mark.security
async def test_t3_resolvers_do_not_share_what_they_have_learnt(clock: ManualClock) -> None:
    """Split DNS: a tenant's internal address for a name is not another tenant's answer. Nothing of DNS goes to Redis."""
    inside, outside = Names({"a.test": ["10.0.0.1"]}), Names({"a.test": ["192.0.2.1"]})
    with ThreadPoolExecutor(2) as executor:
        one, other = (SystemResolver(resolver(), executor, clock, names) for names in (inside, outside))
        for _ in range(2):
            assert (await one.resolve("a.test"), await other.resolve("a.test")) == (("10.0.0.1",), ("192.0.2.1",))
    assert (inside.asked, outside.asked) == (["a.test"], ["a.test"])
