"""A leaf as octets: back as it was, or a ValueError."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from certs.issued import MAX_CERTIFICATE, Issued
from certs.leaf import sign_leaf
from certs.mint import new_ecdsa_key, new_rsa_key, random_serial
from tests.certs.forge_origin import NOW
from tests.certs.test_cache import new_authority, profile

DAY = 86400.0
AT = NOW.timestamp()


def issued(host: str = "a.test", *, ecdsa: bool = True, made: float = AT) -> Issued:
    key = new_ecdsa_key() if ecdsa else new_rsa_key()
    leaf = sign_leaf(new_authority(), profile(host, ecdsa=ecdsa), key, ManualClock(AT), random_serial(), 10)
    return Issued(leaf, key, made)


GOOD = issued()


@pytest.mark.parametrize("ecdsa", [True, False], ids=["ecdsa", "rsa"])
def test_what_goes_in_comes_out(ecdsa):
    leaf = issued(ecdsa=ecdsa)
    back = Issued.from_bytes(leaf.to_bytes())
    assert (back.certificate, back.made, back.fresh) == (leaf.certificate, leaf.made, False)
    assert back.key.private_numbers() == leaf.key.private_numbers()


@pytest.mark.security
def test_a_key_of_another_certificate_is_refused():
    mixed = Issued(GOOD.certificate, issued("b.test").key, AT)
    with pytest.raises(ValueError, match="not the certificate's"):
        Issued.from_bytes(mixed.to_bytes())


@pytest.mark.parametrize("made", [-1.0, float("nan"), float("inf"), 1e30])
def test_a_time_that_is_none_is_refused(made):
    with pytest.raises(ValueError, match="not a time"):
        Issued.from_bytes(issued(made=made).to_bytes())


def test_lengths_are_bounded():
    data = GOOD.to_bytes()
    for broken in (b"", data[:16], data[:-1], data + b"\0", b"\2" + data[1:]):
        with pytest.raises(ValueError):
            Issued.from_bytes(broken)
    too_long = data[:9] + (MAX_CERTIFICATE + 1).to_bytes(4) + data[13:17] + bytes(MAX_CERTIFICATE + 1 + 138)
    with pytest.raises(ValueError, match="wrong lengths"):
        Issued.from_bytes(too_long)


@pytest.mark.security
@given(st.integers(0, len(GOOD.to_bytes()) - 1), st.integers(1, 255))
@example(29, 1)  # the certificate's version
def test_any_octet_may_be_wrong(position, change):
    data = bytearray(GOOD.to_bytes())
    data[position] ^= change
    with contextlib.suppress(ValueError):
        Issued.from_bytes(bytes(data))


@pytest.mark.security
@given(st.binary(max_size=300))
def test_any_octets_are_refused_by_name(data):
    with pytest.raises(ValueError):
        Issued.from_bytes(data)


def test_tls_05_a_leaf_is_handed_out_for_its_time_and_never_in_the_second_half_of_its_life():
    assert GOOD.until(60) == AT + 60
    assert GOOD.until(365 * DAY) == AT + (GOOD.not_after - AT) / 2
    assert GOOD.servable(AT, 60)
    assert not GOOD.servable(AT + 60, 60)
    assert not GOOD.servable(AT - DAY, 60), "made by a clock that was a day ahead"
    assert GOOD.servable(AT - 60, 60), "another node's clock may differ a little"


@pytest.mark.security
def test_no_key_in_a_representation():
    assert "key" not in repr(GOOD).lower().replace("publickey", "")
