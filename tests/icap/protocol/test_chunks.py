"""Chunked bodies: the table of accepted and refused framings, limits at the limit, any split of the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icap.protocol.buffer import ReceiveBuffer
from icap.protocol.chunks import ChunkDecoder, encode_chunk, encode_last
from icap.protocol.errors import LimitExceeded, RemoteProtocolError
from icap.protocol.limits import Limits

TEN = b"0123456789"


def decode(data: bytes, limits: Limits | None = None, step: int = 0) -> tuple[bytes, ChunkDecoder, ReceiveBuffer]:
    buffer, decoder, body = ReceiveBuffer(), ChunkDecoder(limits or Limits()), b""
    for at in range(0, len(data), step or len(data)):
        buffer.feed(data[at : at + (step or len(data))])
        body += decoder.decode(buffer)
    return body, decoder, buffer


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize(
    "wire",
    [
        b"A\r\n0123456789\r\n0\r\n\r\n",
        b"a\r\n0123456789\r\n0\r\n\r\n",
        b"000A\r\n0123456789\r\n0000\r\n\r\n",
        b"5;a=b\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
        b'5 ; a="x;y"\r\n01234\r\n5 ;b ; c = "\\"q"\r\n56789\r\n0\r\n\r\n',
        b"".join(b"1\r\n%c\r\n" % byte for byte in TEN) + b"0\r\n\r\n",
        b"A\r\n0123456789\r\n0\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n",
        b"A; ieof\r\n0123456789\r\n0\r\n\r\n",
    ],
)
def test_icp_08_legal_framings(wire: bytes, step: int) -> None:
    """ICAP-C08, ICAP-S20"""
    body, decoder, buffer = decode(wire, step=step)
    assert (body, decoder.done, decoder.ieof, len(buffer)) == (TEN, True, False, 0)


@pytest.mark.parametrize("last", [b"0;ieof", b"0; ieof", b"0; IEOF", b"0; x=y; ieof", b"0 ;ieof ;x"])
def test_icp_10_ieof_in_every_spelling(last: bytes) -> None:
    """ICAP-C08, ICAP-S20"""
    body, decoder, _ = decode(b"5\r\n01234\r\n" + last + b"\r\n\r\n")
    assert (body, decoder.done, decoder.ieof) == (b"01234", True, True)


@pytest.mark.parametrize("offset", [0, 6, 123456789])
def test_use_original_body(offset: int) -> None:
    """ICAP-C08"""
    _, decoder, _ = decode(b"2\r\nab\r\n" + encode_last(offset))
    assert decoder.use_original_body == offset


@pytest.mark.parametrize(
    "wire",
    [
        b"zz\r\n",
        b"\r\n",
        b"-1\r\n",
        b"+5\r\n01234\r\n",
        b"0x5\r\n01234\r\n",
        b"1_0\r\n",
        b" 5\r\n01234\r\n",
        b"5\n01234\n",
        b"FFFFFFFFFFFFFFFF\r\n",
        b"0000000000000005\r\n01234\r\n",
        b"5\r\n012345\r\n",
        b"5\r\n01234\n\n0\r\n\r\n",
        b"5;\r\n01234\r\n",
        b"5;=x\r\n01234\r\n",
        b'5;a="x\r\n01234\r\n',
        b"5 5\r\n01234\r\n",
        b"0; use-original-body\r\n\r\n",
        b"0; use-original-body=-1\r\n\r\n",
        b'0; use-original-body="1"\r\n\r\n',
        b"0; use-original-body=1; use-original-body=2\r\n\r\n",
        b"0\r\nno field\r\n\r\n",
    ],
)
def test_refused_framings(wire: bytes) -> None:
    """ICAP-C08, ICAP-S20"""
    with pytest.raises(RemoteProtocolError):
        decode(wire + b"\r\n" * 3)


def test_a_cut_body_is_not_complete() -> None:
    body, decoder, _ = decode(b"A\r\n01234")
    assert (body, decoder.done) == (b"01234", False)


@pytest.mark.parametrize(
    ("limits", "at_limit", "above"),
    [
        (Limits(chunk_line=10), b"1;abcdef\r\nx\r\n0\r\n\r\n", b"1;abcdefg\r\nx\r\n0\r\n\r\n"),
        (Limits(extension_bytes=4), b"1;a\r\nx\r\n1;b\r\ny\r\n0\r\n\r\n", b"1;a\r\nx\r\n1;bc\r\ny\r\n0\r\n\r\n"),
        (Limits(trailer_bytes=8), b"0\r\nA: b\r\n\r\n", b"0\r\nA: bc\r\n\r\n"),
        (Limits(body_bytes=4), b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", b"2\r\nab\r\n3\r\n"),
    ],
)
def test_limits_at_the_limit(limits: Limits, at_limit: bytes, above: bytes) -> None:
    """ICAP-C11, ICAP-S19"""
    assert decode(at_limit, limits)[1].done
    with pytest.raises(LimitExceeded):
        decode(above, limits)


def test_an_endless_chunk_line_is_refused_before_it_ends() -> None:
    with pytest.raises(LimitExceeded, match="chunk_line above 100"):
        decode(b"5;" + b"a" * 99, Limits(chunk_line=100))


def test_body_limit_counts_the_preview() -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"2\r\nab\r\n")
    with pytest.raises(LimitExceeded) as caught:
        ChunkDecoder(Limits(body_bytes=5), size=4).decode(buffer)
    assert caught.value.status == 413


def test_a_large_chunk_is_never_held_whole() -> None:
    """ICAP-S21"""
    buffer, decoder, piece, total = ReceiveBuffer(), ChunkDecoder(), b"x" * 65536, 0
    buffer.feed(b"%x\r\n" % (400 * 65536))
    for _ in range(400):
        buffer.feed(piece)
        total += len(decoder.decode(buffer))
        assert len(buffer) == 0
    assert total == 400 * 65536


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 50))
def test_round_trip_over_any_split(pieces: list[bytes], step: int) -> None:
    wire = b"".join(map(encode_chunk, pieces)) + encode_last(None)
    body, decoder, buffer = decode(wire, step=step)
    assert (body, decoder.done, len(buffer)) == (b"".join(pieces), True, 0)


@given(st.binary(max_size=200))
def test_garbage_is_data_or_an_error_never_a_crash(garbage: bytes) -> None:
    try:
        body, _, _ = decode(garbage) if garbage else (b"", None, None)
    except RemoteProtocolError:
        return
    assert len(body) <= len(garbage)
