"""What the signer answers to questions for leaves (TLS-07, TLS-08)."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.domain.errors import InternalError
from certs.fingerprint import certificate_sha256
from certs.issued import Issued
from certs.mint import Mint, Seat
from certs.profile import LeafProfile
from certs.revoked import Revoked, add
from certs.scope import Scope
from certs.signing.leaf_desk import LeafDesk, found_answer, leaf_question, read_found, read_leaf
from certs.signing.wire import MAX_BODY
from certs.withdrawn import Withdrawn
from tests.certs.forge_origin import NOW
from tests.certs.test_cache import new_authority, profile

TTL = 3600.0


class Place:
    """Two authorities, a desk, and what it told."""

    def __init__(self, clock: ManualClock, **limits: int) -> None:
        self.a, self.b = new_authority("A"), new_authority("B")
        self.told: list[str] = []
        mint = Mint([Seat(self.a), Seat(self.b)], clock)
        ttl = {each.fingerprint: TTL for each in (self.a, self.b)}
        self.desk = LeafDesk(mint, ttl, clock, self.told.append, **limits)

    async def leaf(self, host: str = "a.test", *, tenant: str = "a", authority: str = "", ecdsa: bool = True) -> Issued:
        question = leaf_question(Scope(tenant, authority or self.a.fingerprint), profile(host, ecdsa=ecdsa))
        return read_leaf(await self.desk.answer(question))


@pytest.fixture
def place(clock) -> Place:
    return Place(clock)


@pytest.mark.parametrize("ecdsa", [True, False], ids=["ecdsa", "rsa"])
async def test_tls_07_two_hundred_questions_at_once_are_one_signature(place, ecdsa):
    leaves = await asyncio.gather(*(place.leaf(ecdsa=ecdsa) for _ in range(200)))
    assert len({leaf.certificate.serial_number for leaf in leaves}) == 1
    assert len({leaf.key.private_numbers() for leaf in leaves}) == 1
    assert [leaf.fresh for leaf in leaves].count(True) == 1
    assert sorted(place.told) == ["joined"] * 199 + ["made"]


async def test_tls_04_a_later_question_is_answered_from_memory(place):
    first, second = await place.leaf(), await place.leaf()
    assert first.certificate == second.certificate
    assert (first.fresh, second.fresh, place.told) == (True, False, ["made", "remembered"])


@pytest.mark.security
async def test_t2_the_same_host_under_another_ca_is_another_leaf(place):
    one, other = await place.leaf(), await place.leaf(authority=place.b.fingerprint)
    assert one.certificate.issuer != other.certificate.issuer
    assert one.key.private_numbers() != other.key.private_numbers()


async def test_a_leaf_is_remembered_for_its_time(place, clock):
    first = await place.leaf()
    clock.advance(TTL - 1)
    assert (await place.leaf()).certificate == first.certificate
    clock.advance(1)
    assert (await place.leaf()).certificate != first.certificate
    assert len(place.desk) == 1


@pytest.mark.parametrize("jump", [60 * 86400, -60 * 86400])
async def test_a_clock_that_is_set_does_not_keep_a_leaf_for_ever(place, clock, jump):
    first = await place.leaf()
    clock.time += jump
    clock.ticks += TTL
    assert (await place.leaf()).certificate != first.certificate


async def test_tls_06_memory_is_bounded_by_count(clock):
    place = Place(clock, max_leaves=2)
    first = await place.leaf("a.test")
    await place.leaf("b.test")
    await place.leaf("a.test")
    await place.leaf("c.test")
    assert len(place.desk) == 2
    assert (await place.leaf("a.test")).certificate == first.certificate
    await place.leaf("b.test")
    assert place.told.count("made") == 4


async def test_tls_06_memory_is_bounded_by_bytes(clock):
    limit = 20_000
    place = Place(clock, max_bytes=limit)
    for number in range(60):
        await place.leaf(f"{number}.test")
        assert place.desk.held <= limit
    assert 10 < len(place.desk) < 60


async def test_one_that_goes_away_does_not_take_the_leaf_from_the_others(place):
    first, second = asyncio.create_task(place.leaf(ecdsa=False)), asyncio.create_task(place.leaf(ecdsa=False))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).certificate == (await place.leaf(ecdsa=False)).certificate
    assert place.told.count("made") == 0, "the one for whom it was made has gone"


async def test_a_failure_is_given_to_all_and_not_kept(place, clock):
    clock.time += 1001 * 86400
    results = await asyncio.gather(*(place.leaf() for _ in range(3)), return_exceptions=True)
    assert {type(each) for each in results} == {InternalError}
    clock.time = NOW.timestamp()
    assert await place.leaf()


@pytest.mark.security
async def test_tls_08_an_unknown_authority_signs_nothing(place):
    with pytest.raises(InternalError):
        await place.leaf(authority="ab" * 32)


@pytest.mark.security
@given(st.binary(max_size=200))
def test_tls_08_nothing_but_a_question_for_a_leaf_is_answered(body):
    """A worker that was taken over may send anything: what is not a profile is refused, and nothing is ever signed as sent."""
    place = _PLACE

    async def ask() -> None:
        with pytest.raises((ValueError, InternalError)):
            await place.desk.answer(bytes.fromhex(place.a.fingerprint) + body)

    asyncio.run(ask())
    assert len(place.desk) == 0


_PLACE = Place(ManualClock(NOW.timestamp()))


def test_an_answer_that_is_none_is_refused():
    for body in (b"", b"\1", b"\0" + bytes(40)):
        with pytest.raises(ValueError):
            read_leaf(body)


def test_a_question_says_which_authority(place):
    question = leaf_question(Scope("a", place.a.fingerprint), LeafProfile.for_host("a.test"))
    assert question.startswith(bytes.fromhex(place.a.fingerprint))


# -- TLS-15: which leaves there are --


async def test_tls_15_remembered_leaves_are_found_by_host_and_fingerprint_without_their_keys(place):
    wildcard = leaf_question(Scope("a", place.a.fingerprint), LeafProfile(("*.b.test",)))
    first, second = await place.leaf("a.test"), read_leaf(await place.desk.answer(wildcard))
    assert [each.serial_number for each in read_found(await place.desk.find(b""))] == [
        second.certificate.serial_number,
        first.certificate.serial_number,
    ]
    assert read_found(await place.desk.find(b"host:a.test")) == [first.certificate]
    assert read_found(await place.desk.find(b"host:www.b.test")) == [second.certificate]
    assert read_found(await place.desk.find(b"host:c.test")) == []
    fingerprint = certificate_sha256(second.certificate).encode()
    answer = await place.desk.find(b"sha256:" + fingerprint)
    assert read_found(answer) == [second.certificate]
    assert second.key.private_numbers().private_value.to_bytes(32) not in answer
    with pytest.raises(ValueError):
        await place.desk.find(b"key:a.test")


async def test_tls_15_an_answer_is_bounded(place):
    leaf = (await place.leaf()).certificate
    body = found_answer([leaf] * 1000)
    assert len(body) <= MAX_BODY
    assert 100 < len(read_found(body)) < 1000
    with pytest.raises(ValueError):
        read_found(body[:-1])


@pytest.mark.security
async def test_c12_a_revoked_leaf_is_forgotten_with_the_next_question(clock, tmp_path):
    authority, file = new_authority(), tmp_path / "revoked.json"
    known = {authority.fingerprint: Withdrawn(file)}
    desk = LeafDesk(Mint([Seat(authority)], clock), {authority.fingerprint: TTL}, clock, withdrawn=known)
    question = leaf_question(Scope("a", authority.fingerprint), profile("a.test"))
    first = read_leaf(await desk.answer(question))
    assert read_leaf(await desk.answer(question)).certificate == first.certificate
    add(file, Revoked(first.certificate.serial_number, 1))
    second = read_leaf(await desk.answer(question))
    assert second.certificate.serial_number != first.certificate.serial_number
    assert len(desk) == 1
