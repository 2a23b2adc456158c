"""permessage-deflate undone within limits (C7)."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Headers

from addons.decoding import Undecodable
from addons.inflating import Inflater, inflatable

MIB = 1 << 20


def packed(*messages: bytes) -> list[bytes]:
    """Messages that build upon each other."""
    deflater = zlib.compressobj(wbits=-15)
    made = [deflater.compress(each) + deflater.flush(zlib.Z_SYNC_FLUSH) for each in messages]
    return [each.removesuffix(b"\x00\x00\xff\xff") for each in made]


@given(st.lists(st.binary(max_size=3000), max_size=4))
def test_c7_messages_that_build_upon_each_other(messages: list[bytes]) -> None:
    inflater = Inflater(200)
    found = [inflater.feed(each, 1 << 20, follow=False, end=True) for each in packed(*messages)]
    assert found == [(each, len(each)) for each in messages]


@given(st.binary(max_size=200))
def test_noise_is_data_or_refused(data: bytes) -> None:
    try:
        kept, size = Inflater(200).feed(data, 100, follow=False, end=True)
    except Undecodable as error:
        assert str(error)
    else:
        assert len(kept) == min(size, 100)


def test_c7_a_skipped_message_is_followed_so_that_the_next_can_be_read() -> None:
    large, small = packed(b"abc" * 50_000, b"abc" * 100)
    inflater = Inflater(1000)
    kept, size = inflater.feed(large[:20], 10, follow=True, end=False)
    inflater.feed(large[20:], 0, follow=True, end=True)
    assert (len(kept), size > 10) == (10, True)
    assert inflater.feed(small, 1000, follow=True, end=True) == (b"abc" * 100, 300)


@pytest.mark.security
def test_c7_a_bomb_is_given_up_early() -> None:
    (bomb,) = packed(bytes(64 * MIB))
    inflater = Inflater(200)
    with pytest.raises(Undecodable, match="200 times"):
        inflater.feed(bomb, 1000, follow=True, end=True)
    stopped = Inflater(200)
    kept, size = stopped.feed(bomb, 1000, follow=False, end=True)
    assert (len(kept), size < MIB) == (1000, True)
    for each in (inflater, stopped):
        with pytest.raises(Undecodable):
            each.feed(b"\x00", 1000, follow=True, end=True)


def test_c7_a_final_block_ends_a_message_and_hides_nothing() -> None:
    deflater = zlib.compressobj(wbits=-15)
    final = deflater.compress(b"hello") + deflater.flush()
    inflater = Inflater(200)
    assert inflater.feed(final + b"\x00", 100, follow=False, end=True) == (b"hello", 5)
    assert inflater.feed(packed(b"again")[0], 100, follow=False, end=True) == (b"again", 5)
    with pytest.raises(Undecodable):
        inflater.feed(final + packed(b"hidden")[0], 100, follow=False, end=True)


@pytest.mark.parametrize(
    ("agreed", "known"),
    [
        ([], True),
        (["permessage-deflate; server_no_context_takeover; client_max_window_bits=12"], True),
        (["permessage-deflate, permessage-deflate"], False),
        (["x-webkit-deflate-frame"], False),
        (["permessage-deflate", "other"], False),
    ],
)
def test_c7_extensions_that_can_be_undone(agreed: list[str], known: bool) -> None:
    assert inflatable(Headers([(b"Sec-WebSocket-Extensions", each.encode()) for each in agreed])) is known
