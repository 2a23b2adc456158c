"""What goes over the signer's socket, in whatever pieces it comes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.signing.wire import MAX_BODY, VERSION, Decoder, Kind, Message, WireError

messages = st.builds(Message, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=200))


@given(st.lists(messages, max_size=5), st.data())
def test_messages_come_back_however_they_are_cut(sent, data):
    stream = b"".join(message.to_bytes() for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder, received = Decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.feed(stream[start:end])
    assert received == sent


def test_the_longest_body_passes_and_one_more_octet_does_not():
    longest = Message(Kind.LEAF, 1, bytes(MAX_BODY))
    assert list(Decoder().feed(longest.to_bytes())) == [longest]
    with pytest.raises(WireError, match="octets"):
        Message(Kind.LEAF, 1, bytes(MAX_BODY + 1)).to_bytes()
    head = (MAX_BODY + 7).to_bytes(4) + bytes([VERSION, Kind.LEAF]) + bytes(4)
    with pytest.raises(WireError, match="octets"):
        list(Decoder().feed(head))


@pytest.mark.parametrize(
    ("head", "cause"),
    [
        (b"\0\0\0\x06\x02\x01\0\0\0\0", "version 2"),
        (b"\0\0\0\x05\x01\x01\0\0\0\0", "5 octets"),
        (b"\0\0\0\x06\x01\x63\0\0\0\0", "kind 99"),
        (b"GET / HTTP/1.1\r\n", "version 47"),
    ],
)
def test_what_is_no_message_is_refused_from_its_head(head, cause):
    with pytest.raises(WireError, match=cause):
        list(Decoder().feed(head))


def test_messages_before_a_broken_one_are_given():
    good = Message(Kind.ANSWER, 7, b"x")
    coming = Decoder().feed(good.to_bytes() + bytes(20))
    assert next(coming) == good
    with pytest.raises(WireError):
        next(coming)


@pytest.mark.security
@given(st.binary(max_size=400))
def test_any_octets_are_messages_or_an_error(data):
    with contextlib.suppress(WireError):
        list(Decoder().feed(data))
