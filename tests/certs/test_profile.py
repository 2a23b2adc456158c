"""Profiles on the wire: one encoding each, and nothing else is read."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.profile import ATTRIBUTES, MAX_BYTES, MAX_NAMES, MAX_NAMES_BYTES, MAX_NOT_AFTER, LeafProfile, usable_text

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
NAME = HOST | HOST.map(lambda host: f"*.{host}.test") | st.ip_addresses(v=4).map(str)
SUBJECT = st.fixed_dictionaries(
    {}, optional={"C": st.just("DE"), "L": st.just("Köln"), "O": st.text("abc ü&", min_size=1, max_size=64).filter(str.strip)}
)
PROFILE = st.builds(
    LeafProfile,
    names=st.lists(NAME, min_size=1, max_size=8, unique=True).map(tuple),
    common_name=st.just("") | HOST,
    ecdsa=st.booleans(),
    not_after=st.none() | st.integers(1, MAX_NOT_AFTER),
    subject=SUBJECT.map(lambda given: tuple((word, given[word].strip()) for word in ATTRIBUTES if word in given)),
)
EXAMPLE = LeafProfile(("a.test", "*.b.test", "2001:db8::1"), "a.test", True, 1_800_000_000, (("C", "DE"), ("O", "Bücher")))


@given(PROFILE)
def test_every_profile_comes_back(profile: LeafProfile) -> None:
    assert LeafProfile.from_bytes(profile.to_bytes()) == profile


@given(PROFILE, PROFILE)
def test_profiles_that_differ_have_different_encodings(one: LeafProfile, other: LeafProfile) -> None:
    assert (one.to_bytes() == other.to_bytes()) is (one == other)


@given(st.binary(max_size=200) | st.builds(lambda tail: b"\x01\x01" + bytes(8) + b"\x01" + tail, st.binary(max_size=60)))
def test_what_is_read_is_what_would_have_been_written(data: bytes) -> None:
    try:
        profile = LeafProfile.from_bytes(data)
    except ValueError:
        return
    assert profile.to_bytes() == data


@given(st.integers(0, len(EXAMPLE.to_bytes()) - 1), st.integers(1, 255))
def test_a_changed_byte_is_another_profile_or_none(at: int, change: int) -> None:
    data = bytearray(EXAMPLE.to_bytes())
    data[at] ^= change
    with contextlib.suppress(ValueError):
        assert LeafProfile.from_bytes(bytes(data)) != EXAMPLE


@pytest.mark.parametrize("cut", range(len(EXAMPLE.to_bytes())))
def test_a_profile_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(ValueError):
        LeafProfile.from_bytes(EXAMPLE.to_bytes()[:cut])


def test_the_encoding_does_not_change_between_versions() -> None:
    """Shared caches outlive a process: another meaning of these bytes needs another version number."""
    expected = (
        "01" "01" "000000006b49d200" "03" "06612e74657374" "082a2e622e74657374" "0b323030313a6462383a3a31"
        "06612e74657374" "02" "00024445" "0307" "42c3bc63686572"
    )  # fmt: skip
    assert EXAMPLE.to_bytes().hex() == expected


@pytest.mark.parametrize(
    "broken",
    [
        replace(EXAMPLE, names=("A.test",)),
        replace(EXAMPLE, names=("a.test", "a.test")),
        replace(EXAMPLE, names=("*.test",)),
        replace(EXAMPLE, names=("*.192.0.2.1",)),
        replace(EXAMPLE, names=("::ffff:192.0.2.1",)),
        replace(EXAMPLE, names=("a b",)),
        replace(EXAMPLE, names=("a\0.test",)),
        replace(EXAMPLE, names=("bücher.test",)),
        replace(EXAMPLE, common_name="Honest Bank"),
        replace(EXAMPLE, not_after=0),
        replace(EXAMPLE, not_after=-1),
        replace(EXAMPLE, not_after=MAX_NOT_AFTER + 1),
        replace(EXAMPLE, not_after=1.5),
        replace(EXAMPLE, subject=(("O", "Bücher"), ("C", "DE"))),
        replace(EXAMPLE, subject=(("O", "a"), ("O", "b"))),
        replace(EXAMPLE, subject=(("OU", "a"),)),
        replace(EXAMPLE, subject=(("C", "de"),)),
        replace(EXAMPLE, subject=(("O", ""),)),
        replace(EXAMPLE, subject=(("O", "a\nb"),)),
        replace(EXAMPLE, subject=(("O", "a" * 65),)),
        replace(EXAMPLE, subject=(("L", "ü" * 128),)),
    ],
)
def test_a_profile_out_of_form_is_not_written(broken: LeafProfile) -> None:
    with pytest.raises(ValueError):
        broken.to_bytes()


def test_the_bounds_themselves_fit() -> None:
    names = tuple(f"n{number:03}." + "a" * 30 + ".test" for number in range(MAX_NAMES))
    most = LeafProfile(names, "", False, MAX_NOT_AFTER, (("ST", "x" * 128), ("L", "y" * 128), ("O", "z" * 64)))
    assert LeafProfile.from_bytes(most.to_bytes()) == most
    assert len(most.to_bytes()) < MAX_BYTES
    with pytest.raises(ValueError, match="too many names"):
        replace(most, names=(*names, "one.more.test")).to_bytes()
    with pytest.raises(ValueError, match="too many names"):
        replace(most, names=tuple(f"{'a' * 60}.n{number}.test" for number in range(MAX_NAMES_BYTES // 60))).to_bytes()
    with pytest.raises(ValueError, match="too long"):
        LeafProfile.from_bytes(bytes(MAX_BYTES + 1))


def test_a_name_of_253_octets_and_its_wildcard() -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(longest) == 253
    profile = LeafProfile((longest, f"*.{longest[2:]}"))
    assert LeafProfile.from_bytes(profile.to_bytes()) == profile
    with pytest.raises(ValueError):
        LeafProfile((f"*.{longest}",)).to_bytes()


@given(st.text(max_size=140))
def test_a_usable_text_is_printable_and_bounded(text: str) -> None:
    for word, limit in ATTRIBUTES.items():
        if usable_text(word, text):
            assert 0 < len(text) <= limit
            assert text.isprintable()
