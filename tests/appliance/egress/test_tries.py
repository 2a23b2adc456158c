"""Order of addresses, and the shares of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.domain.errors import UpstreamError
from appliance.domain.notes import EscapeNotes
from appliance.domain.reason import Reason
from appliance.egress.tries import Deadline, LocalAddresses, order, try_each

ADDRESSES = st.lists(st.sampled_from(["1.1.1.1", "1.1.1.2", "1.1.1.3", "::1", "::2", "::3"]), unique=True)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("IPv4First", ["1.1.1.1", "::1", "1.1.1.2", "1.1.1.3"]),
        ("IPv6First", ["::1", "1.1.1.1", "1.1.1.2", "1.1.1.3"]),
        ("IPv4Only", ["1.1.1.1", "1.1.1.2", "1.1.1.3"]),
        ("IPv6Only", ["::1"]),
    ],
)
def test_esc_06_families_alternate(strategy: str, expected: list[str]) -> None:
    assert order(["1.1.1.1", "1.1.1.2", "1.1.1.3", "::1"], strategy) == expected  # type: ignore[arg-type]


@given(ADDRESSES, st.sampled_from(["IPv4First", "IPv6First"]))
def test_esc_06_first_loses_nothing_and_keeps_each_familys_order(addresses: list[str], strategy: str) -> None:
    ordered = order(addresses, strategy)  # type: ignore[arg-type]
    assert sorted(ordered) == sorted(addresses)
    for colon in (True, False):
        assert [a for a in ordered if (":" in a) is colon] == [a for a in addresses if (":" in a) is colon]


def test_bind_ip_takes_one_address_per_family() -> None:
    local = LocalAddresses(["127.0.0.9", "::1"])
    assert (local.source("8.8.8.8"), local.source("2a00::1")) == ("127.0.0.9", "::1")
    assert LocalAddresses([]).source("8.8.8.8") is None


async def run(
    addresses: list[str], count: int, takes: float, retryable: bool = True, slow: bool = False
) -> tuple[list[tuple[str, float]], Reason]:
    clock, calls = ManualClock(), []

    async def attempt(address: str, timeout: float) -> None:
        calls.append((address, timeout))
        clock.advance(takes if slow else min(takes, timeout))
        raise UpstreamError(Reason.CONNECT_TIMEOUT, address, retryable=retryable)

    with pytest.raises(UpstreamError) as caught:
        await try_each(addresses, count, Deadline(clock, 12.0), EscapeNotes(), attempt)
    return calls, caught.value.reason


async def test_each_try_gets_its_share_of_what_is_left() -> None:
    calls, _ = await run(["a", "b", "c"], 3, takes=99)
    assert calls == [("a", 4.0), ("b", 4.0), ("c", 4.0)]


async def test_time_that_a_try_did_not_need_is_left_to_the_next() -> None:
    calls, _ = await run(["a", "b", "c"], 3, takes=0)
    assert calls == [("a", 4.0), ("b", 6.0), ("c", 12.0)]


async def test_rounds_follow_when_the_addresses_are_through() -> None:
    calls, _ = await run(["a", "b"], 5, takes=0)
    assert [address for address, _ in calls] == ["a", "b", "a", "b", "a"]


async def test_what_is_not_retryable_is_not_tried_again() -> None:
    calls, reason = await run(["a", "b"], 5, takes=0, retryable=False)
    assert (len(calls), reason) == (1, Reason.CONNECT_TIMEOUT)


async def test_nothing_is_tried_past_the_deadline() -> None:
    calls, reason = await run(["a"], 5, takes=12.0 / 5)
    assert (len(calls), reason) == (5, Reason.CONNECT_TIMEOUT)
    calls, reason = await run(["a", "b"], 2, takes=99, slow=True)  # an attempt that overstays
    assert (calls, reason) == ([("a", 6.0)], Reason.CONNECT_TIMEOUT)


async def test_without_addresses_it_fails() -> None:
    calls, reason = await run([], 3, takes=0)
    assert (calls, reason) == ([], Reason.CONNECT_FAILED)
