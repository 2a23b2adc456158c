import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.identity.cache import NEGATIVE_TTL, VerdictCache


def test_results_end_with_their_time() -> None:
    clock = ManualClock()
    cache = VerdictCache(clock)
    cache.put(b"right", True, 300.0)
    cache.put(b"wrong", False, 300.0)
    clock.advance(NEGATIVE_TTL)
    assert cache.get(b"wrong") is None
    assert cache.get(b"right") is True
    clock.advance(300.0 - NEGATIVE_TTL)
    assert cache.get(b"right") is None
    assert len(cache) == 0


def test_a_ttl_of_zero_remembers_nothing() -> None:
    cache = VerdictCache(ManualClock())
    cache.put(b"k", True, 0.0)
    cache.put(b"l", False, 0.0)
    assert len(cache) == 0


def test_least_recently_used_goes_first() -> None:
    cache = VerdictCache(ManualClock(), capacity=2)
    cache.put(b"a", True, 9.0)
    cache.put(b"b", True, 9.0)
    assert cache.get(b"a")
    cache.put(b"c", True, 9.0)
    assert [cache.get(key) for key in (b"a", b"b", b"c")] == [True, None, True]


@pytest.mark.security
def test_a_flood_of_guesses_does_not_log_anybody_out() -> None:
    cache = VerdictCache(ManualClock(), capacity=10)
    cache.put(b"alice", True, 300.0)
    for number in range(1000):
        cache.put(number.to_bytes(4), False, 300.0)
    assert cache.get(b"alice") is True
    assert len(cache) == 11


@pytest.mark.security
@given(st.lists(st.text(), min_size=1, max_size=4), st.lists(st.text(), min_size=1, max_size=4))
def test_keys_are_equal_only_for_equal_parts(one: list[str], two: list[str]) -> None:
    cache = VerdictCache(ManualClock())
    assert (cache.key(*one) == cache.key(*two)) == (one == two)


@pytest.mark.security
def test_keys_depend_on_the_process() -> None:
    one, two = VerdictCache(ManualClock()), VerdictCache(ManualClock())
    assert one.key("group", "user", "password") != two.key("group", "user", "password")
    assert b"password" not in one.key("group", "user", "password")
