"""WebSocket frames: what is no frame ends the relay, and no message costs memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, Ping

from appliance.engine.frames import BadFrame, FrameReader


def client(extended: bool = False) -> FrameReader:
    return FrameReader(masked=True, extended=extended)


def frame(first: int, length: int, mask: bool = True) -> bytes:
    short = length if length < 126 else 126 if length < 65_536 else 127
    long = b"" if short < 126 else length.to_bytes(2 if short == 126 else 8)
    return bytes([first, short | 0x80 * mask]) + long + bytes(4 * mask)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        frame(0x82, 5, mask=False),
        frame(0x80, 5),  # continues nothing
        frame(0x02, 0) + frame(0x82, 0),  # a message inside of another
        frame(0xC2, 5),  # compressed, and nobody agreed to it
        frame(0x92, 5),
        frame(0x83, 5),
        frame(0x09, 5),  # a ping in pieces
        frame(0x89, 126),
        frame(0x88, 0) + frame(0x82, 1),  # after the close frame
        frame(0x82, 1 << 63),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        client().feed(data)


def test_a_compressed_message_needs_the_extension() -> None:
    assert client(extended=True).feed(frame(0xC2, 5) + b"12345") == 1


def test_a_message_without_an_end_is_not_held() -> None:
    reader = client()
    assert reader.feed(frame(0x02, 1 << 40)) == 0
    for _ in range(200):
        assert reader.feed(b"A" * 65536) == 0
    assert len(reader._head) == 0


@given(st.lists(st.tuples(st.binary(max_size=70_000), st.booleans()), max_size=5), st.integers(1, 7))
def test_frames_of_another_implementation_are_counted_however_they_are_cut(
    messages: list[tuple[bytes, bool]], step: int
) -> None:
    peer = Connection(ConnectionType.CLIENT)
    data = b""
    for content, ping in messages:
        data += peer.send(BytesMessage(content[: len(content) // 2], message_finished=False))
        data += peer.send(Ping(b"p")) if ping else b""
        data += peer.send(BytesMessage(content[len(content) // 2 :]))
    reader, size = client(), 4096 * step + step
    slow, fast = data[:300], data[300:]
    cuts = [slow[at : at + 1] for at in range(len(slow))] + [fast[at : at + size] for at in range(0, len(fast), size)]
    assert sum(reader.feed(piece) for piece in cuts) == len(messages)


@given(st.binary(max_size=300))
def test_noise_is_a_frame_or_refused(data: bytes) -> None:
    try:
        client(extended=True).feed(data)
    except BadFrame as error:
        assert str(error)
