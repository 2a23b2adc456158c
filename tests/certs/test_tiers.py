"""The shared tier, against a store in memory: what is believed, what is not, and who signs (TLS-05, TLS-07, RDS-07, T2)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.domain.errors import InternalError
from certs import tiers
from certs.authority import Authority
from certs.issued import Issued
from certs.mint import Mint, Seat
from certs.profile import LeafProfile
from certs.revoked import Revoked, add
from certs.scope import Scope
from certs.sealing import KEY, KeyRing
from certs.tiers import MAX_VALUE, Away, Found, SharedLeaves
from certs.withdrawn import Withdrawn
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import NOW
from tests.certs.test_cache import new_authority, profile

DAY = 86400.0


@dataclass
class Memory:
    """``certs.tiers.Store``, shared by nodes."""

    values: dict[str, bytes] = field(default_factory=dict)
    lives: dict[str, float] = field(default_factory=dict)
    locks: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)

    def _check(self, operation: str) -> None:
        if operation in self.away:
            raise Away(operation)

    async def get(self, key: str, limit: int) -> bytes | None:
        self._check("get")
        value = self.values.get(key)
        return None if value is None else value[:limit]

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        self._check("put")
        self.values[key], self.lives[key] = value, seconds

    async def claim(self, key: str, seconds: float) -> bool:
        self._check("claim")
        if key in self.locks:
            return False
        self.locks.add(key)
        return True

    async def release(self, key: str) -> None:
        self._check("release")
        self.locks.discard(key)


class Node:
    """A machine: its own signer in front of the tier. ``signed`` counts."""

    def __init__(
        self, store: Memory, authority: Authority, clock: ManualClock, tenant: str = "a", key: bytes = b"k" * KEY, **more: Any
    ) -> None:
        self.scope, self.signed, self.told = Scope(tenant, authority.fingerprint), 0, list[Found]()
        self.mint = Mint([Seat(authority)], clock)
        self.before_signing: Callable[[], object] = lambda: None
        ring = KeyRing(bytes(KEY), [key])
        self.tier = SharedLeaves(self, store, ring, authority.public, DAY, clock, self.told.append, **more)

    async def leaf(self, scope: Scope, profile: LeafProfile) -> Issued:
        self.signed += 1
        self.before_signing()
        await asyncio.sleep(0)
        return await self.mint.leaf(scope, profile)

    async def get(self, host: str = "a.test", *, ecdsa: bool = True) -> Issued:
        return await self.tier.leaf(self.scope, profile(host, ecdsa=ecdsa))

    def place(self, host: str = "a.test") -> str:
        return self.tier.place(self.scope, profile(host))


@pytest.fixture
def store() -> Memory:
    return Memory()


@pytest.fixture
def ca() -> Authority:
    return new_authority()


async def test_tls_05_after_a_restart_the_same_leaf_is_served_and_nothing_is_signed(store, ca, clock):
    first = await Node(store, ca, clock).get()
    again = Node(store, ca, clock)
    second = await again.get()
    assert second.certificate == first.certificate
    assert second.key.private_numbers() == first.key.private_numbers()
    assert (again.signed, again.told, second.fresh) == (0, [Found.HIT], False)


async def test_rds_07_a_value_lives_as_long_as_its_leaf_is_handed_out(store, ca, clock):
    node = Node(store, ca, clock)
    await node.get()
    assert list(store.lives.values()) == [DAY]
    await node.tier.leaf(node.scope, LeafProfile(("short.test",), not_after=int(NOW.timestamp()) + 100))
    assert list(store.lives.values())[1] == 50


async def test_tls_07_nodes_that_want_one_leaf_at_once_sign_once(store, ca, clock):
    nodes = [Node(store, ca, clock) for _ in range(10)]
    leaves = await asyncio.gather(*(node.get() for node in nodes))
    assert len({leaf.certificate.serial_number for leaf in leaves}) == 1
    assert sum(node.signed for node in nodes) == 1
    assert sorted(told.value for node in nodes for told in node.told) == ["miss"] + ["waited"] * 9


async def test_tls_07_when_the_one_who_claimed_it_dies_the_others_sign_for_themselves(store, ca, clock, monkeypatch):
    node = Node(store, ca, clock)
    store.locks.add(node.place().replace("cert:cache", "cert:lock"))
    monkeypatch.setattr(tiers, "LOOK", 0.001)
    asking = asyncio.create_task(node.get())
    await asyncio.sleep(0.02)
    assert not asking.done()
    clock.advance(tiers.WAIT)
    assert (await asking).fresh
    assert (node.signed, node.told) == (1, [Found.MISS])


async def test_a_claim_is_given_up_when_signing_fails(store, ca, clock):
    node = Node(store, ca, clock)
    node.before_signing = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        await node.get()
    assert (store.locks, store.values) == (set(), {})


@pytest.mark.security
async def test_t2_tenants_cas_hosts_and_kinds_have_places_of_their_own(store, clock):
    one, other = new_authority("one"), new_authority("other")
    nodes = [Node(store, one, clock, "a"), Node(store, one, clock, "b"), Node(store, other, clock, "a")]
    nodes.append(Node(store, one, clock, "a", variant=b"other settings"))
    leaves = [await node.get() for node in nodes]
    leaves += [await nodes[0].get("b.test"), await nodes[0].get(ecdsa=False)]
    assert len({leaf.certificate.serial_number for leaf in leaves}) == 6
    assert len(store.values) == 6
    places = sorted(store.values)
    assert all(place.startswith((f"cert:cache:a:{one.fingerprint}:", f"cert:cache:a:{other.fingerprint}:", "cert:cache:b:"))
               for place in places)  # fmt: skip
    assert not [place for place in places if "test" in place], "whoever reads keys does not read hosts"


@pytest.mark.security
async def test_t2_no_key_of_a_leaf_or_of_a_ca_is_in_the_store_in_clear(store, ca, clock):
    leaf = await Node(store, ca, clock).get()
    stored = b"".join(store.values.values())
    for key in (leaf.key, ca.key):
        scalar = key.private_numbers().private_value.to_bytes(32)
        assert scalar not in stored
        assert scalar[::-1] not in stored
    assert b"a.test" not in stored


async def rejected(store: Memory, node: Node, other: Issued) -> None:
    """What lies there is not served, is counted, and is replaced by what is."""
    before = dict(store.values)
    store.locks.clear()
    got = await node.get()
    assert got.certificate != other.certificate
    assert node.told == [Found.REJECTED]
    assert store.values != before
    store.locks.clear()
    assert (await node.get()).certificate == got.certificate


@pytest.mark.security
@pytest.mark.parametrize("how", ["tampered", "truncated", "empty", "huge", "not ours"])
async def test_t2_what_was_changed_is_replaced(store, ca, clock, how):
    leaf = await Node(store, ca, clock).get()
    (place, value) = store.values.popitem()
    store.values[place] = {
        "tampered": value[:40] + bytes([value[40] ^ 1]) + value[41:],
        "truncated": value[:-1],
        "empty": b"",
        "huge": value + bytes(MAX_VALUE),
        "not ours": b'{"cert": "-----BEGIN CERTIFICATE-----", "key": "..."}',
    }[how]
    await rejected(store, Node(store, ca, clock), leaf)


@pytest.mark.security
async def test_t2_another_tenants_leaf_put_in_our_place_is_not_served(store, ca, clock):
    """Even under one CA, and by somebody who can write to Redis at will."""
    foreign = Node(store, ca, clock, "b")
    leaf = await foreign.get()
    ours = Node(store, ca, clock, "a")
    store.values[ours.place()] = store.values.pop(foreign.place())
    await rejected(store, ours, leaf)


@pytest.mark.security
async def test_t2_the_leaf_of_another_host_put_in_its_place_is_not_served(store, ca, clock):
    node = Node(store, ca, clock)
    leaf = await node.get("evil.test")
    node.told.clear()
    store.values[node.place()] = store.values[node.place("evil.test")]
    await rejected(store, node, leaf)


def resealed(node: Node, issued: Issued, host: str = "a.test") -> tuple[str, bytes]:
    """As somebody would seal it who has our keys, or a former version of ours with a fault."""
    place = node.place(host)
    return place, KeyRing(bytes(KEY), [b"k" * KEY]).seal(issued.to_bytes(), place.encode())


@pytest.mark.security
@pytest.mark.parametrize("what", ["another ca", "same name, another key", "other names", "over", "of tomorrow"])
async def test_t2_a_leaf_that_does_not_fit_is_replaced_although_it_is_sealed_by_us(store, ca, clock, what):
    node = Node(store, ca, clock)
    good = await node.mint.leaf(node.scope, profile("a.test"))
    strange = new_authority("strange", forge.ec_key(8))
    impostor = Authority("impostor", ca.certificate, (), strange.key)
    leaf = {
        "another ca": await Mint([Seat(strange)], clock).leaf(Scope("a", strange.fingerprint), profile("a.test")),
        "same name, another key": await Mint([Seat(impostor)], clock).leaf(node.scope, profile("a.test")),
        "other names": await node.mint.leaf(node.scope, profile("b.test")),
        "over": Issued(good.certificate, good.key, good.made - DAY),
        "of tomorrow": Issued(good.certificate, good.key, good.made + DAY),
    }[what]
    place, value = resealed(node, leaf)
    store.values[place] = value
    await rejected(store, node, leaf)


async def test_a_key_that_was_rotated_away_is_replaced(store, ca, clock):
    leaf = await Node(store, ca, clock, key=b"o" * KEY).get()
    await rejected(store, Node(store, ca, clock), leaf)


@pytest.mark.parametrize("operation", ["get", "claim", "put", "release"])
async def test_rds_07_without_the_tier_leaves_are_signed_as_ever(store, ca, clock, operation):
    store.away.add(operation)
    node = Node(store, ca, clock)
    assert (await node.get()).fresh
    assert node.told == [Found.AWAY if operation in ("get", "claim") else Found.MISS]
    store.away.clear()
    store.locks.clear()
    assert (await node.get()).certificate


async def test_a_failure_of_the_signer_is_told_also_when_the_tier_is_away(store, ca, clock):
    store.away.add("release")
    clock.time += 1001 * DAY
    with pytest.raises(InternalError):
        await Node(store, ca, clock).get()


_CA = new_authority()


@pytest.mark.security
@given(st.binary(max_size=300))
def test_any_octets_in_the_store_are_replaced(data):
    async def ask() -> None:
        clock = ManualClock(NOW.timestamp())
        node = Node(Memory(), _CA, clock)
        node.tier._store.values[node.place()] = data
        assert (await node.get()).fresh

    asyncio.run(ask())


@pytest.mark.security
async def test_c12_a_shared_leaf_that_was_revoked_is_replaced(store, ca, clock, tmp_path):
    withdrawn = Withdrawn(tmp_path / "revoked.json")
    node = Node(store, ca, clock, withdrawn=withdrawn)
    first = await node.get()
    add(tmp_path / "revoked.json", Revoked(first.certificate.serial_number, 1))
    withdrawn.refresh()
    store.locks.clear()
    second = await node.get()
    assert second.certificate.serial_number != first.certificate.serial_number
    assert node.told == [Found.MISS, Found.REJECTED]
    assert (await Node(store, ca, clock, withdrawn=withdrawn).get()).certificate == second.certificate
