"""What is encrypted for a place that others can see (T2)."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import ConfigError
from certs import sealing
from certs.sealing import KEY, OVERHEAD, KeyRing, SealError

NAMING = bytes(KEY)
RING = KeyRing(NAMING, [b"a" * KEY])
PLACE = b"cert:cache:a:ff:00"


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_what_is_sealed_can_be_opened_in_its_place(data, place):
    sealed = RING.seal(data, place)
    assert len(sealed) == len(data) + OVERHEAD
    assert RING.open(sealed, place) == data


@pytest.mark.security
@given(st.integers(0, OVERHEAD + 9), st.integers(1, 255))
def test_t2_one_changed_octet_is_noticed(position, change):
    sealed = bytearray(RING.seal(b"0123456789", PLACE))
    sealed[position] ^= change
    with pytest.raises(SealError):
        RING.open(bytes(sealed), PLACE)


@pytest.mark.security
@given(st.binary(max_size=200))
def test_any_octets_are_refused(data):
    with pytest.raises(SealError):
        RING.open(data, PLACE)


@pytest.mark.security
def test_t2_another_place_or_another_key_does_not_open_it():
    sealed = RING.seal(b"secret", PLACE)
    assert b"secret" not in sealed
    with pytest.raises(SealError, match="another place"):
        RING.open(sealed, PLACE + b"1")
    with pytest.raises(SealError, match="do not have"):
        KeyRing(NAMING, [b"b" * KEY]).open(sealed, PLACE)


def test_no_two_are_alike():
    assert RING.seal(b"x", PLACE) != RING.seal(b"x", PLACE)


@pytest.mark.security
def test_names_tell_nothing_without_the_key():
    assert RING.name(b"a.test") == KeyRing(NAMING, [b"b" * KEY]).name(b"a.test") != RING.name(b"b.test")
    assert KeyRing(b"n" * KEY, [b"a" * KEY]).name(b"a.test") != RING.name(b"a.test")
    assert "a" * 8 not in repr(RING)


def test_rds_07_a_new_key_in_front_seals_and_the_former_still_opens(tmp_path):
    file = tmp_path / "leaf-cache.key"
    sealing.ensure(file)
    first = sealing.load(file)
    old = first.seal(b"x", PLACE)
    identifier = sealing.rotate(file)
    second = sealing.load(file)
    assert second.open(old, PLACE) == b"x"
    assert second.name(b"a") == first.name(b"a")
    new = second.seal(b"y", PLACE)
    assert new[1:5].hex() == identifier
    with pytest.raises(SealError, match="do not have"):
        first.open(new, PLACE)
    sealing.rotate(file, keep=0)
    with pytest.raises(SealError):
        sealing.load(file).open(new, PLACE)


@pytest.mark.security
def test_the_file_is_the_owners_and_made_once(tmp_path):
    file = tmp_path / "leaf-cache.key"
    sealing.ensure(file)
    text = file.read_text()
    sealing.ensure(file)
    assert file.read_text() == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        sealing.load(file)


@pytest.mark.parametrize("text", ["", "names x\n", "x" * 5000, "# only this\n"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    file = tmp_path / "leaf-cache.key"
    file.touch(0o600)
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"one a line|damaged"):
        sealing.load(file)


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "leaf-cache.key"
    sealing.ensure(file)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1].replace(lines[1][12], "A" if lines[1][12] != "A" else "B", 1)]))
    with pytest.raises(ConfigError, match="line 2 is damaged"):
        sealing.load(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        sealing.load(tmp_path / "none")


@pytest.mark.parametrize("keys", [[], [b"short"]])
def test_a_ring_needs_whole_keys(keys):
    with pytest.raises(ValueError):
        KeyRing(NAMING, keys)
