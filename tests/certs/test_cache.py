import asyncio
import gc

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from appliance.domain.clock import ManualClock
from appliance.domain.errors import InternalError
from certs import mint as mint_module
from certs.authority import Authority
from certs.cache import LeafCache
from certs.issued import Issued
from certs.mint import Mint, Seat
from certs.profile import LeafProfile
from certs.revoked import Revoked, add
from certs.scope import Scope
from certs.withdrawn import Withdrawn
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, NOW

DAY = 86400


def new_authority(name: str = "main", key: forge.Key | None = None) -> Authority:
    pair = forge.issue(CA.but(common_name=name, **({"key": key} if key else {})), None)
    return Authority(name, pair.certificate, (), pair.key)


@pytest.fixture
def cache(clock) -> LeafCache:
    return LeafCache(new_authority(), 3, 3600, clock)


def profile(host: str, **options: bool) -> LeafProfile:
    return LeafProfile.for_host(host, **options)


def counted(cache: LeafCache) -> tuple[int, int, int, int]:
    counters = cache.counters
    return counters.hits, counters.misses, counters.joined, counters.signed


async def test_tls_04_a_ready_leaf_counts_as_a_hit(cache: LeafCache, clock: ManualClock) -> None:
    wanted = profile("www.example.com")
    assert cache.ready(wanted) is None
    leaf = await cache.get(wanted)
    assert cache.ready(wanted) is leaf
    assert (cache.counters.hits, cache.counters.misses) == (1, 1)
    clock.advance(3600)
    assert cache.ready(wanted) is None
    assert cache.counters.expired == 1


async def test_tls_04_the_second_call_signs_nothing(cache):
    first, second = await cache.get(profile("a.test")), await cache.get(profile("a.test"))
    assert first is second
    assert first.context is second.context
    assert counted(cache) == (1, 1, 0, 1)


async def test_tls_03_every_host_has_a_key_of_its_own(cache):
    first, second = await cache.get(profile("a.test")), await cache.get(profile("b.test"))
    assert first.key.public_key() != second.key.public_key()
    assert cache.authority.key.public_key() not in (first.key.public_key(), second.key.public_key())
    assert first.certificate.public_key() == first.key.public_key()
    assert first.serial == first.certificate.serial_number != second.serial


@pytest.mark.parametrize("ecdsa", [True, False], ids=["ecdsa", "rsa"])
async def test_tls_07_two_hundred_first_calls_sign_once(clock, ecdsa):
    cache = LeafCache(new_authority(), 10, 3600, clock)
    leaves = await asyncio.gather(*(cache.get(profile("a.test", ecdsa=ecdsa)) for _ in range(200)))
    assert len({leaf.serial for leaf in leaves}) == 1
    hits, misses, joined, signed = counted(cache)
    assert (misses, signed, hits + joined) == (1, 1, 199)
    assert isinstance(leaves[0].key, ec.EllipticCurvePrivateKey if ecdsa else rsa.RSAPrivateKey)


async def test_tls_07_a_caller_that_goes_away_does_not_take_the_leaf_from_the_others(clock):
    cache = LeafCache(new_authority(), 10, 3600, clock)
    first = asyncio.create_task(cache.get(profile("a.test", ecdsa=False)))
    await asyncio.sleep(0)
    second = asyncio.create_task(cache.get(profile("a.test", ecdsa=False)))
    await asyncio.sleep(0)
    first.cancel()
    leaf = await second
    assert first.cancelled()
    assert leaf is await cache.get(profile("a.test", ecdsa=False))
    assert cache.counters.signed == 1


async def test_a_failure_reaches_every_caller_and_is_not_kept(clock, monkeypatch):
    cache = LeafCache(new_authority(), 10, 3600, clock)
    monkeypatch.setattr(mint_module, "new_rsa_key", lambda: 1 / 0)
    calls = (cache.get(profile("a.test", ecdsa=False)) for _ in range(3))
    assert {type(each) for each in await asyncio.gather(*calls, return_exceptions=True)} == {ZeroDivisionError}
    monkeypatch.undo()
    assert await cache.get(profile("a.test", ecdsa=False))
    assert cache.counters.signed == 1


async def test_tls_06_the_least_recently_used_leaf_goes_first(cache):
    leaves = {name: await cache.get(profile(f"{name}.test")) for name in "abc"}
    await cache.get(profile("a.test"))
    await cache.get(profile("d.test"))
    assert len(cache) == 3
    assert cache.peek(profile("b.test")) is None
    assert cache.peek(profile("a.test")) is leaves["a"]
    assert cache.counters.evicted == 1


async def test_tls_06_ten_thousand_hosts_stay_within_the_bound(clock, monkeypatch):
    cache = LeafCache(new_authority(), 100, 3600, clock)
    gc.collect()
    for index in range(10_500):
        await cache.get(profile(f"h{index}.test"))
    assert len(cache) == 100
    assert (cache.counters.signed, cache.counters.evicted) == (10_500, 10_400)
    assert cache.peek(profile("h10499.test"))
    assert cache.peek(profile("h10399.test")) is None


async def test_tls_04_a_leaf_is_made_anew_after_its_time_to_live(cache, clock):
    first = await cache.get(profile("a.test"))
    clock.advance(3599)
    assert await cache.get(profile("a.test")) is first
    clock.advance(1)
    second = await cache.get(profile("a.test"))
    assert second.serial != first.serial
    assert cache.counters.expired == 1
    assert len(cache) == 1


async def test_tls_04_a_leaf_is_never_served_in_the_second_half_of_its_life(clock):
    authority = new_authority()
    cache = LeafCache(authority, 10, 365 * DAY, clock, signer=Mint([Seat(authority, leaf_days=10)], clock))
    first = await cache.get(profile("a.test"))
    half = (first.not_after - clock.now()) / 2
    clock.advance(half - 1)
    assert await cache.get(profile("a.test")) is first
    clock.advance(1)
    assert await cache.get(profile("a.test")) is not first


@pytest.mark.parametrize("jump", [60 * DAY, -60 * DAY])
async def test_a_clock_that_is_set_does_not_let_an_invalid_leaf_be_served(cache, clock, jump):
    first = await cache.get(profile("a.test"))
    clock.time += jump
    second = await cache.get(profile("a.test"))
    assert second is not first
    assert second.not_before <= clock.now() < second.not_after


async def test_a_servers_end_of_life_bounds_the_leaf_and_its_stay(cache, clock):
    short = LeafProfile(("a.test",), not_after=clock.now() + 100)
    first = await cache.get(short)
    assert first.not_after == clock.now() + 100
    clock.advance(50)
    assert await cache.get(short) is not first


async def test_profiles_that_differ_have_different_leaves(cache):
    ecdsa, rsa_leaf = await cache.get(profile("a.test")), await cache.get(profile("a.test", ecdsa=False))
    assert ecdsa.serial != rsa_leaf.serial
    assert len(cache) == 2


@pytest.mark.security
async def test_ten_13_a_new_authority_leaves_the_others_leaves_alone(clock):
    """A cache belongs to one authority: rotating tenant A's gives A new leaves and B the same as before."""
    old, other = LeafCache(new_authority("A"), 10, 3600, clock), LeafCache(new_authority("B"), 10, 3600, clock)
    before_a, before_b = await old.get(profile("a.test")), await other.get(profile("a.test"))
    pair = forge.issue(CA.but(common_name="A2", key=forge.ec_key(8)), None)
    rotated = LeafCache(Authority("A", pair.certificate, (), pair.key), 10, 3600, clock)
    after_a = await rotated.get(profile("a.test"))
    assert await other.get(profile("a.test")) is before_b
    assert after_a.certificate.issuer != before_a.certificate.issuer
    assert len({before_a.serial, before_b.serial, after_a.serial}) == 3


async def test_clear_forgets(cache):
    first = await cache.get(profile("a.test"))
    cache.clear()
    assert len(cache) == 0
    assert await cache.get(profile("a.test")) is not first


async def test_an_expired_authority_is_a_typed_failure(clock):
    cache = LeafCache(new_authority(), 10, 3600, clock)
    clock.time = NOW.timestamp() + 1001 * DAY
    for ecdsa in (True, False):
        with pytest.raises(InternalError):
            await cache.get(profile("a.test", ecdsa=ecdsa))
    assert len(cache) == 0


@pytest.mark.parametrize(("capacity", "ttl"), [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_a_cache_without_room_or_time_is_refused(capacity, ttl):
    with pytest.raises(ValueError):
        LeafCache(new_authority(), capacity, ttl, ManualClock())


@pytest.mark.security
async def test_no_key_in_a_representation(cache):
    assert "Key" not in repr(await cache.get(profile("a.test")))


async def test_tls_08_a_cache_of_an_authority_without_its_key_needs_a_signer(clock):
    authority = new_authority()
    with pytest.raises(ValueError, match="a signer is needed"):
        LeafCache(authority.public, 10, 3600, clock)
    cache = LeafCache(authority.public, 10, 3600, clock, signer=Mint([Seat(authority)], clock))
    assert (await cache.get(profile("a.test"))).certificate.issuer == authority.certificate.subject


async def test_a_leaf_that_was_made_for_another_is_counted_and_kept_for_the_rest_of_its_time(clock):
    authority, clock.time = new_authority(), NOW.timestamp()
    made = await Mint([Seat(authority)], clock).leaf(Scope("a", authority.fingerprint), profile("a.test"))
    clock.advance(1000)

    class Remembering:
        async def leaf(self, _authority: str, _profile: LeafProfile) -> Issued:
            return Issued.from_bytes(made.to_bytes())

    cache = LeafCache(authority.public, 10, 3600, clock, signer=Remembering())
    assert (await cache.get(profile("a.test"))).serial == made.certificate.serial_number
    assert counted(cache) == (0, 1, 0, 0)
    clock.advance(2599)
    assert cache.peek(profile("a.test"))
    clock.advance(1)
    assert cache.peek(profile("a.test")) is None


@pytest.mark.security
async def test_c12_a_leaf_that_was_revoked_is_not_served_again(clock, tmp_path):
    withdrawn = Withdrawn(tmp_path / "revoked.json")
    cache = LeafCache(new_authority(), 10, 3600, clock, withdrawn=withdrawn)
    first, other = await cache.get(profile("a.test")), await cache.get(profile("b.test"))
    add(tmp_path / "revoked.json", Revoked(first.serial, 1))
    withdrawn.refresh()
    assert cache.peek(profile("a.test")) is None
    assert cache.ready(profile("a.test")) is None
    second = await cache.get(profile("a.test"))
    assert second.serial != first.serial
    assert second.key.public_key() != first.key.public_key()
    assert cache.ready(profile("b.test")) is other


@pytest.mark.security
async def test_c12_a_leaf_that_was_revoked_on_its_way_is_asked_for_again_and_never_served(clock, tmp_path):
    authority, file = new_authority(), tmp_path / "revoked.json"
    own = Mint([Seat(authority)], clock)
    issued = [await own.leaf(Scope("a", authority.fingerprint), profile("a.test")) for _ in range(2)]
    add(file, Revoked(issued[0].certificate.serial_number, 1))
    given = [issued[0], issued[1], issued[0], issued[0]]

    class Late:
        async def leaf(self, _authority: str, _profile: LeafProfile) -> Issued:
            return given.pop(0)

    cache = LeafCache(authority.public, 10, 3600, clock, signer=Late(), withdrawn=Withdrawn(file))
    assert (await cache.get(profile("a.test"))).serial == issued[1].certificate.serial_number
    cache.clear()
    with pytest.raises(InternalError, match="revoked"):
        await cache.get(profile("a.test"))
    assert len(cache) == 0


@pytest.mark.security
async def test_c12_the_key_of_rsa_leaves_is_given_to_no_more_of_them_after_a_revocation(clock, tmp_path):
    authority, file = new_authority(), tmp_path / "revoked.json"
    own = Mint([Seat(authority, withdrawn=Withdrawn(file))], clock)
    hosts = ("a.test", "b.test", "c.test")
    keys = []
    for host in hosts:
        leaf = await own.leaf(Scope("a", authority.fingerprint), profile(host, ecdsa=False))
        keys.append(leaf.key.public_key())
        if host == "b.test":
            add(file, Revoked(leaf.certificate.serial_number, 1))
    assert keys[0] == keys[1] != keys[2]
