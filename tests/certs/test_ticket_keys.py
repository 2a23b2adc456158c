"""Keys of session tickets (TLS-12): the same everywhere, new in each period, gone after two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from certs.ticket_keys import NAME, PERIOD, Seed, SeedHolder, TicketKeys


@pytest.fixture
def ticking() -> ManualClock:
    return ManualClock(ticks=1000.0)


def worker(holder: SeedHolder, clock: ManualClock) -> TicketKeys:
    return TicketKeys(Seed.from_bytes(holder()), clock)


@pytest.mark.parametrize("later", [0.0, PERIOD - 1, PERIOD, PERIOD * 5 + 1])
def test_tls_12_workers_started_at_any_time_have_the_same_keys(ticking: ManualClock, later: float) -> None:
    holder = SeedHolder(ticking)
    first = worker(holder, ticking)
    ticking.advance(later)
    second = worker(holder, ticking)
    assert first.current() == second.current()
    for _ in range(3):
        ticking.advance(PERIOD)
        assert first.current() == second.current()


def test_a_key_makes_tickets_for_one_period_and_is_accepted_for_one_more(ticking: ManualClock) -> None:
    keys = worker(SeedHolder(ticking), ticking)
    old = keys.current()
    ticking.advance(PERIOD - 0.001)
    assert keys.current() == old
    ticking.advance(0.001)
    assert keys.current() != old
    assert keys.for_ticket(old.name) == old
    ticking.advance(PERIOD - 0.001)
    assert keys.for_ticket(old.name) == old
    ticking.advance(0.001)
    assert keys.for_ticket(old.name) == keys.current()
    assert keys.for_ticket(old.name) != old


def test_a_worker_that_comes_late_accepts_what_was_made_before_it(ticking: ManualClock) -> None:
    holder = SeedHolder(ticking)
    first = worker(holder, ticking)
    ticking.advance(PERIOD * 3)
    old = first.current()
    ticking.advance(PERIOD)
    assert worker(holder, ticking).for_ticket(old.name) == old


@pytest.mark.security
def test_what_a_worker_is_told_does_not_open_older_tickets(ticking: ManualClock) -> None:
    holder = SeedHolder(ticking)
    old = worker(holder, ticking).current()
    ticking.advance(PERIOD * 2)
    told = Seed.from_bytes(holder())
    later = [told.forward(told.period + more).key() for more in range(20)]
    assert old not in later
    assert told.forward(0) == told


def test_unknown_and_empty_names_get_the_current_key(ticking: ManualClock) -> None:
    keys = worker(SeedHolder(ticking), ticking)
    assert keys.for_ticket(b"") == keys.for_ticket(b"x" * NAME) == keys.for_ticket(keys.current().name) == keys.current()


def test_the_wall_clock_does_not_matter(ticking: ManualClock) -> None:
    keys = worker(SeedHolder(ticking), ticking)
    now = keys.current()
    ticking.time += 1e9
    assert keys.current() == now
    ticking.time -= 2e9
    assert keys.current() == now


def test_a_clock_before_the_seed_goes_nowhere(ticking: ManualClock) -> None:
    keys = worker(SeedHolder(ticking), ticking)
    now = keys.current()
    ticking.ticks = 0.0
    assert keys.current() == now


def test_keys_differ_in_all_parts_and_have_their_sizes(ticking: ManualClock) -> None:
    seed = Seed.new(ticking)
    keys = [seed.forward(period).key() for period in range(10)]
    assert all((len(key.name), len(key.hmac_key), len(key.aes_key)) == (16, 32, 32) for key in keys)
    parts = [part for key in keys for part in (key.name, key.hmac_key, key.aes_key)]
    assert len(set(parts)) == 30
    assert Seed.new(ticking).secret != seed.secret


@pytest.mark.security
def test_no_key_is_shown(ticking: ManualClock) -> None:
    seed = Seed.new(ticking)
    shown = repr(seed) + repr(seed.key())
    for secret in (seed.secret, seed.key().aes_key, seed.key().hmac_key):
        assert repr(secret) not in shown


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_a_seed_is_read_as_it_was_written(origin: float, period: int, secret: bytes) -> None:
    assert Seed.from_bytes(Seed(origin, period, secret).to_bytes()) == Seed(origin, period, secret)


@given(st.binary(max_size=100).filter(lambda data: len(data) != 48))
def test_what_is_no_seed_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="seed"):
        Seed.from_bytes(data)
