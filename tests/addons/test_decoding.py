"""Content codings undone for inspection, and bombs (C7)."""

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.decoding import Bounds, Decoder, Undecodable, decoded

BOUNDS = Bounds(8 << 20, 200, 2)


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "members": ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    "zlib": ("deflate", zlib.compress),
    "raw": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
    "frames": ("zstd", lambda data: zstandard.compress(data[:7]) + zstandard.compress(data[7:])),
}


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=5000), cut=st.integers(1, 600), kind=st.sampled_from(sorted(ENCODERS)))
def test_what_was_packed_comes_back_however_it_is_cut(data: bytes, cut: int, kind: str) -> None:
    coding, encode = ENCODERS[kind]
    packed = encode(data)
    decoder = Decoder([coding], BOUNDS)
    out = b"".join(piece for at in range(0, len(packed), cut) for piece in decoder.feed(packed[at : at + cut]))
    decoder.end()
    assert out == data == decoded(packed, ["identity", coding], BOUNDS)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), coding=st.sampled_from(["gzip", "deflate", "br", "zstd"]))
def test_noise_is_undecodable_or_decodes_within_bounds(data: bytes, coding: str) -> None:
    try:
        assert len(decoded(data, [coding], BOUNDS)) <= BOUNDS.size
    except Undecodable as error:
        assert str(error)


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_more_than_a_piece_at_once(kind: str) -> None:
    coding, encode = ENCODERS[kind]
    data = bytes(range(256)) * 8192 + b"end"
    assert decoded(encode(data), [coding], Bounds(1 << 30, 1 << 20, 1)) == data


@pytest.mark.security
@pytest.mark.parametrize("kind", ["gzip", "zlib", "raw", "br", "zstd"])
def test_c7_a_bomb_stops_at_the_limit(kind: str) -> None:
    coding, encode = ENCODERS[kind]
    bomb = encode(bytes(64 << 20))
    for bounds in (Bounds(4 << 20, 1 << 30, 1), Bounds(1 << 40, 50, 1)):
        decoder = Decoder([coding], bounds)
        with pytest.raises(Undecodable):
            for _ in decoder.feed(bomb):
                pass
        assert decoder.size <= max(4 << 20, len(bomb) * 50, 1 << 20) + (16 << 20)


@pytest.mark.parametrize("size", [100, 101])
def test_c7_the_size_at_its_limit(size: int) -> None:
    packed = gzip.compress(b"x" * size)
    if size == 100:
        assert len(decoded(packed, ["gzip"], Bounds(100, 1000, 1))) == 100
    else:
        with pytest.raises(Undecodable, match="more than 100 bytes"):
            decoded(packed, ["gzip"], Bounds(100, 1000, 1))


def test_c7_codings_on_top_of_each_other() -> None:
    packed = brotli.compress(gzip.compress(b"text"))
    assert decoded(packed, ["gzip", "br"], BOUNDS) == b"text"
    with pytest.raises(Undecodable, match="3 content codings"):
        Decoder(["gzip", "br", "gzip"], BOUNDS)
    with pytest.raises(Undecodable, match="compress"):
        Decoder(["compress"], BOUNDS)


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_a_body_that_ends_too_early_is_none(kind: str) -> None:
    coding, encode = ENCODERS[kind]
    with pytest.raises(Undecodable):
        decoded(encode(b"some text that is long enough")[:-1], [coding], BOUNDS)


def test_an_empty_body_is_no_contradiction() -> None:
    assert decoded(b"", ["br"], BOUNDS) == b""


@pytest.mark.security
def test_a_body_has_one_reading() -> None:
    """security: with zlib's wrapper, and what a browser shows of it until it breaks; without, something harmless to its end."""
    shown = zlib.compressobj(wbits=-15)
    tail = shown.compress(b"<script>bad</script>") + shown.flush(zlib.Z_SYNC_FLUSH) + b"\x07"
    length = 0x9C  # what the wrapper's header is as the length of a stored block
    inner = (length ^ 0xFFFF).to_bytes(2, "little") + length.to_bytes(2, "little")
    filler = bytearray(length ^ 0xFFFF)
    after = len(filler) + len(tail) - (length - 2) - 5
    filler[length - 2 : length + 3] = b"\x01" + after.to_bytes(2, "little") + (after ^ 0xFFFF).to_bytes(2, "little")
    body = b"\x78\x9c\x00" + inner + bytes(filler) + tail
    assert b"bad" in zlib.decompressobj().decompress(body[:-1])
    assert len(zlib.decompress(body, -15)) == length + after
    with pytest.raises(Undecodable):
        decoded(body, ["deflate"], BOUNDS)


@pytest.mark.security
@pytest.mark.parametrize("kind", ["members", "frames"])
@pytest.mark.parametrize(("size", "passes"), [(0, False), (900, False), (1024, True)])
def test_parts_hold_something(kind: str, size: int, passes: bool) -> None:
    """security: 60,000 empty members of gzip pack into 3 KB, and cost a worker a quarter of a second."""
    coding, encode = ("gzip", gzip.compress) if kind == "members" else ("zstd", zstandard.compress)
    packed = encode(bytes(size)) * 20_000
    try:
        made = len(decoded(gzip.compress(packed), [coding, "gzip"], Bounds(1 << 30, 1 << 30, 2)))
    except Undecodable as error:
        assert not passes
        assert "parts that hold" in str(error)
    else:
        assert (passes, made) == (True, size * 20_000)


@pytest.mark.parametrize(("count", "passes"), [(1000, True), (1001, False)])
def test_a_thousand_parts_may_be_empty(count: int, passes: bool) -> None:
    packed = gzip.compress(b"") * count
    if passes:
        assert decoded(packed, ["gzip"], BOUNDS) == b""
    else:
        with pytest.raises(Undecodable):
            decoded(packed, ["gzip"], BOUNDS)
