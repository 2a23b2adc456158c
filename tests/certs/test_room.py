"""TLS-06: tenants that share a CA share the room for its leaves, and none can push out the others'."""

import pytest

from certs.cache import LeafCache
from certs.mint import Mint, Seat
from certs.room import Room
from tests.certs.test_cache import new_authority, profile


def caches(clock, capacity: int) -> tuple[LeafCache, LeafCache]:
    ca = new_authority()
    room, signer = Room(capacity), Mint([Seat(ca)], clock)
    one, other = (LeafCache(ca.public, room, 3600, clock, tenant=tenant, signer=signer) for tenant in ("a", "b"))
    return one, other


async def test_tls_06_one_tenant_may_fill_the_room_alone(clock) -> None:
    busy, idle = caches(clock, 4)
    for number in range(5):
        await busy.get(profile(f"{number}.test"))
    assert (len(busy), len(idle), busy.counters.evicted) == (4, 0, 1)


@pytest.mark.security
async def test_tls_06_a_flood_of_hosts_pushes_out_its_own_leaves(clock) -> None:
    flooding, quiet = caches(clock, 6)
    for host in ("a.test", "b.test"):
        await quiet.get(profile(host))
    for number in range(20):
        await flooding.get(profile(f"{number}.test"))
    assert quiet.peek(profile("a.test"))
    assert quiet.peek(profile("b.test"))
    assert (len(quiet), len(flooding), quiet.counters.evicted) == (2, 4, 0)


async def test_a_tenant_that_comes_late_gets_its_share(clock) -> None:
    first, late = caches(clock, 4)
    for number in range(4):
        await first.get(profile(f"{number}.test"))
    for number in range(4):
        await late.get(profile(f"{number}.test"))
    assert (len(first), len(late)) == (2, 2)
    assert first.peek(profile("3.test")), "what was used last stays"


def test_a_room_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        Room(0)
