"""Encapsulated HTTP heads: what is taken out, what must stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icap.protocol import HttpHead, RemoteProtocolError, encapsulate, end_to_end, parse_head, repair

TOKEN = st.text("abcXYZ019-", min_size=1, max_size=10).map(str.encode)
VALUE = st.binary(max_size=20).filter(lambda value: not set(value) & set(b"\r\n\0")).map(lambda value: value.strip(b" \t"))


def head(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> HttpHead:
    return parse_head(b"\r\n".join([start, *lines]) + b"\r\n\r\n")


def test_icp_08_hop_by_hop_fields_and_what_connection_names_are_removed() -> None:
    """ICAP-C06"""
    original = head(
        b"Connection: X-Hop, close",
        b"X-Hop: 1",
        b"Keep-Alive: 5",
        b"TE: trailers",
        b"Trailer: X",
        b"Transfer-Encoding: chunked",
        b"Upgrade: h2c",
        b"Proxy-Connection: x",
        b"Proxy-Authorization: secret",
        b"Set-Cookie: a=1",
        b"set-cookie: b=2",
        b"X-Caf\xe9-Value: caf\xe9".replace(b"\xe9-", b"e-"),
    )
    assert encapsulate(original, 5) == (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Cafe-Value: caf\xe9\r\n\r\n"
    )


def test_connection_cannot_take_the_type_from_the_scanner() -> None:
    fields = end_to_end([(b"Connection", b"content-type, host, x"), (b"Content-Type", b"a/b"), (b"Host", b"h"), (b"X", b"1")])
    assert fields == ((b"Content-Type", b"a/b"), (b"Host", b"h"))


@pytest.mark.parametrize(
    ("lines", "length", "kept"),
    [
        ([b"Content-Length: 5"], 5, True),
        ([b"Content-Length: 5"], None, True),
        ([b"Content-Length: 6"], 5, False),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], 5, False),
        ([], 5, False),
    ],
)
def test_content_length_stays_only_when_it_is_right(lines: list[bytes], length: int | None, kept: bool) -> None:
    """ICAP-C05"""
    assert (b"Content-Length: 5" in encapsulate(head(*lines), length)) is kept


def test_icp_03_repair_writes_the_length_and_the_version() -> None:
    """ICAP-C33"""
    page = head(b"Server: C-ICAP", b"Connection: close", b"Content-Length: 9", b"Via: x", start=b"HTTP/1.0 403 Forbidden")
    assert bytes(repair(page, 2)) == b"HTTP/1.1 403 Forbidden\r\nServer: C-ICAP\r\nContent-Length: 2\r\nVia: x\r\n\r\n"
    assert bytes(repair(head(), 2)) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert bytes(repair(head(start=b"GET / HTTP/1.0"), 0)) == b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


def test_repair_leaves_the_length_of_answers_that_have_no_body() -> None:
    assert b"Content-Length: 9" in bytes(repair(head(b"Content-Length: 9"), 0, has_body=False))
    assert b"Content-Length: 9" in bytes(repair(head(b"Content-Length: 9", start=b"HTTP/1.1 304 Not Modified"), 0))
    assert b"Content-Length" not in bytes(repair(head(start=b"HTTP/1.1 204 No Content"), 0))


@pytest.mark.parametrize(
    "block",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"GET /\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n fold\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
    ],
)
def test_refused_heads(block: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_head(block)


def test_fields_are_counted_at_the_limit() -> None:
    block = b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n"
    assert len(parse_head(block, 2).fields) == 2
    with pytest.raises(RemoteProtocolError):
        parse_head(block, 1)


@pytest.mark.parametrize(("lines", "length"), [([], None), ([b"Content-Length: 5, 5"], 5), ([b"Content-Length: 5"] * 2, 5)])
def test_content_length(lines: list[bytes], length: int | None) -> None:
    assert head(*lines).content_length == length


@pytest.mark.parametrize("value", [b"5, 6", b"-5", b"+5", b"0x5", b"", b"5 5"])
def test_ambiguous_content_length_is_refused(value: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        _ = head(b"Content-Length: " + value).content_length


def test_a_folded_field_is_joined() -> None:
    assert head(b"A: b", b"\t c").fields == ((b"A", b"b c"),)


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=8))
def test_round_trip(fields: list[tuple[bytes, bytes]]) -> None:
    original = HttpHead(b"GET http://h/ HTTP/1.1", tuple(fields))
    assert parse_head(bytes(original)) == original


@given(st.binary(max_size=120))
def test_garbage_is_a_head_or_an_error(garbage: bytes) -> None:
    try:
        parsed = parse_head(b"HTTP/1.1 200 OK\r\n" + garbage + b"\r\n\r\n")
    except RemoteProtocolError:
        return
    assert parse_head(bytes(parsed)) == parsed
