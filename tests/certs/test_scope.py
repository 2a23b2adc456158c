"""T2, TLS-04 to 07: a leaf belongs to one tenant under one CA, in every tier."""

import asyncio

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from certs.cache import Leaf, LeafCache
from certs.issued import Issued
from certs.mint import Mint, Seat
from certs.profile import LeafProfile
from certs.scope import Scope, read_scope
from certs.sealing import KEY, KeyRing
from certs.shared_keys import MAX_KEYS, SharedKeys
from certs.signer import Signer
from certs.signing.leaf_desk import LeafDesk, leaf_question, read_leaf
from certs.tiers import SharedLeaves
from tests.certs import forge_origin as forge
from tests.certs.test_cache import new_authority, profile
from tests.certs.test_tiers import DAY, Memory

FINGERPRINT = "ab" * 32


class Desk:
    """The signer without its socket."""

    def __init__(self, desk: LeafDesk) -> None:
        self._desk = desk

    async def leaf(self, scope: Scope, profile: LeafProfile) -> Issued:
        return read_leaf(await self._desk.answer(leaf_question(scope, profile)))


def caches(clock: ManualClock, tier: str) -> tuple[LeafCache, LeafCache]:
    """Of two tenants of one CA, with everything else in common."""
    ca = new_authority()
    signer: Signer = Mint([Seat(ca)], clock)
    if tier != "memory":
        signer = Desk(LeafDesk(signer, {ca.fingerprint: DAY}, clock))
    if tier == "redis":
        signer = SharedLeaves(signer, Memory(), KeyRing(bytes(KEY), [b"k" * KEY]), ca.public, DAY, clock)
    one, other = (LeafCache(ca.public, 10, DAY, clock, tenant=tenant, signer=signer) for tenant in ("a", "b"))
    return one, other


def facts(leaf: Leaf) -> tuple[int, bytes, int]:
    key = leaf.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return leaf.serial, key, id(leaf.context)


@pytest.mark.security
@pytest.mark.parametrize("ecdsa", [True, False], ids=["ecdsa", "rsa"])
@pytest.mark.parametrize("tier", ["memory", "signer", "redis"])
async def test_t2_tenants_of_one_ca_share_no_leaf_no_key_and_no_context(clock, tier: str, ecdsa: bool) -> None:
    """Also when they ask at the same moment, for the same host."""
    one, other = caches(clock, tier)
    wanted = profile("a.test", ecdsa=ecdsa)
    mine, theirs = await asyncio.gather(one.get(wanted), other.get(wanted))
    assert not set(facts(mine)) & set(facts(theirs))
    assert (one.ready(wanted), other.ready(wanted)) == (mine, theirs)
    one.clear()
    again = await one.get(wanted)
    assert facts(again)[1] != facts(theirs)[1], "nor later, from whatever remembers"
    assert (again.serial == mine.serial) is (tier != "memory")


@given(st.text(max_size=60), st.binary(min_size=32, max_size=32), st.binary(max_size=50))
def test_every_scope_comes_back_with_what_follows(tenant: str, fingerprint: bytes, rest: bytes) -> None:
    scope = Scope(tenant, fingerprint.hex())
    assert read_scope(scope.to_bytes() + rest) == (scope, rest)


@given(st.binary(max_size=80))
def test_any_octets_are_a_scope_or_refused(data: bytes) -> None:
    try:
        scope, rest = read_scope(data)
    except ValueError:
        return
    assert scope.to_bytes() + rest == data


def test_the_longest_tenant_fits_and_one_octet_more_does_not() -> None:
    assert read_scope(Scope("t" * 255, FINGERPRINT).to_bytes())[0].tenant == "t" * 255
    with pytest.raises(ValueError, match="too long"):
        Scope("t" * 256, FINGERPRINT).to_bytes()


def test_scopes_differ_wherever_tenant_or_ca_do() -> None:
    scopes = [Scope("a", FINGERPRINT), Scope("b", FINGERPRINT), Scope("", FINGERPRINT), Scope("a", "cd" * 32)]
    assert len({scope.to_bytes() for scope in scopes}) == len({str(scope) for scope in scopes}) == len(scopes)


def test_shared_keys_are_bounded_whoever_asks(clock) -> None:
    """A worker that was taken over may name tenants that there are not."""
    keys, key = SharedKeys(clock), forge.rsa_key(2048)
    for number in range(MAX_KEYS + 1):
        keys.keep(Scope(str(number), FINGERPRINT), key)
    assert keys.take(Scope("0", FINGERPRINT)) is None
    assert keys.take(Scope("1", FINGERPRINT)) is key
