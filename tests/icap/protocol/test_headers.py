"""Header sections and the Encapsulated header."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icap.protocol.encapsulated import (
    LEGAL_IN_REQUEST,
    LEGAL_IN_RESPONSE,
    build_encapsulated,
    is_section,
    parse_encapsulated,
)
from icap.protocol.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from icap.protocol.headers import Headers, parse_fields
from icap.protocol.limits import Limits

TOKEN = st.text("abcXYZ019-_.!#$%&'*+^`|~", min_size=1, max_size=12)
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)


def test_icp_08_case_order_duplicates_and_bytes_are_kept() -> None:
    headers = parse_fields("B: 1\r\na:2\r\nB:  caf\xe9 \r\nempty:")
    assert headers.fields == (("B", "1"), ("a", "2"), ("B", "caf\xe9"), ("empty", ""))
    assert headers.all("b") == ["1", "caf\xe9"]
    assert (headers.first("A"), headers.first("none"), "EMPTY" in headers) == ("2", None, True)


def test_icp_08_folded_lines_are_joined() -> None:
    """ICAP-C09"""
    block = "X-Violations-Found: 1\r\n\t-\r\n\tEicar\r\n\t0\r\n\t0\r\nISTag: x\r\n  y"
    assert parse_fields(block).fields == (("X-Violations-Found", "1\t-\tEicar\t0\t0"), ("ISTag", "x y"))


@pytest.mark.parametrize(
    "block",
    ["no colon", ": empty", "sp ace: x", "name : x", " fold first", "A: b\nC: d", "A: b\rC", "A: \0", "A: b\r\n\r\nC: d"],
)
def test_refused_fields(block: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_fields(block)


def test_limits_at_the_limit() -> None:
    limits = Limits(header_count=2, header_line=6)
    assert len(parse_fields("A: 123\r\nB: 2", limits).fields) == 2
    with pytest.raises(LimitExceeded, match="header_line"):
        parse_fields("A: 1234", limits)
    with pytest.raises(LimitExceeded, match="header_count"):
        parse_fields("A: 1\r\nB: 2\r\nC: 3", limits)
    with pytest.raises(LimitExceeded, match="header_count"):
        parse_fields("A: 1\r\n 2\r\n 3", limits)


def test_lists_and_singletons() -> None:
    headers = Headers.of(("Allow", "204, 206"), ("allow", "Trailers,,"), ("Preview", "1"), ("Preview", "2"))
    assert headers.tokens("ALLOW") == {"204", "206", "trailers"}
    with pytest.raises(RemoteProtocolError, match="2 times"):
        headers.single("Preview")


@pytest.mark.parametrize("field", [("A\r\nB", "x"), ("A", "x\r\nB: y"), ("A", "x\ny"), ("A", "\0"), ("", "x"), ("A", "\u20ac")])
def test_icp_07_nothing_that_breaks_a_line_is_written(field: tuple[str, str]) -> None:
    with pytest.raises(LocalProtocolError):
        Headers.of(field).serialise()


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=10))
def test_round_trip(fields: list[tuple[str, str]]) -> None:
    headers = Headers(tuple(fields))
    assert parse_fields(headers.serialise().removesuffix("\r\n")) == headers


@given(st.text(st.characters(max_codepoint=0xFF), max_size=100))
def test_garbage_is_fields_or_an_error(garbage: str) -> None:
    try:
        headers = parse_fields(garbage)
    except RemoteProtocolError:
        return
    assert parse_fields(headers.serialise().removesuffix("\r\n")) == headers


LISTS = [
    ("REQMOD", "req-hdr=0, req-body=10"),
    ("REQMOD", "req-hdr=0,null-body=10"),
    ("RESPMOD", "req-hdr=0, res-hdr=10, res-body=20"),
    ("RESPMOD", "req-hdr=0, res-hdr=10, null-body=20"),
    ("RESPMOD", "res-hdr=0, res-body=10"),
    ("OPTIONS", "null-body=0"),
    ("OPTIONS", "opt-body=0"),
]


@pytest.mark.parametrize(("method", "text"), LISTS)
def test_icp_08_legal_request_lists(method: str, text: str) -> None:
    """ICAP-C03, ICAP-S15"""
    assert str(parse_encapsulated(text, LEGAL_IN_REQUEST[method])) == text.replace(",n", ", n")


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("REQMOD", "res-hdr=0, res-body=10"),
        ("REQMOD", "req-hdr=0, null-body=9"),
        ("REQMOD", "null-body=0"),
        ("RESPMOD", "res-hdr=0, null-body=4"),
        ("RESPMOD", "null-body=0"),
    ],
)
def test_icp_08_legal_response_lists(method: str, text: str) -> None:
    """ICAP-C03"""
    assert str(parse_encapsulated(text, LEGAL_IN_RESPONSE[method])) == text


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("REQMOD", ""),
        ("REQMOD", "req-hdr=0"),
        ("REQMOD", "req-hdr=1, null-body=10"),
        ("REQMOD", "req-hdr=0, null-body=0"),
        ("REQMOD", "req-body=10, req-hdr=0"),
        ("REQMOD", "req-hdr=0, req-hdr=5, null-body=9"),
        ("REQMOD", "res-hdr=0, res-body=9"),
        ("REQMOD", "req-hdr=0, null-body=-1"),
        ("REQMOD", "req-hdr=0, null-body=+9"),
        ("REQMOD", "req-hdr=0, null-body=0x9"),
        ("REQMOD", "req-hdr=0, null-body=99999999999"),
        ("REQMOD", "req-hdr = 0, null-body=9"),
        ("REQMOD", "REQ-HDR=0, null-body=9"),
        ("REQMOD", "req-hdr=0, null-body=9,"),
        ("REQMOD", "req-hdr=0, foo-body=9"),
        ("RESPMOD", "req-hdr=0, res-hdr=9, res-body=8"),
        ("RESPMOD", "res-hdr=0, req-hdr=9, res-body=18"),
        ("RESPMOD", "req-hdr=0, res-hdr=1, res-body=2, null-body=3"),
        ("OPTIONS", "req-hdr=0, null-body=9"),
    ],
)
def test_icp_08_refused_lists(method: str, text: str) -> None:
    """ICAP-C02, ICAP-S15"""
    with pytest.raises(RemoteProtocolError):
        parse_encapsulated(text, LEGAL_IN_REQUEST[method])


HEAD = (
    st.binary(min_size=1, max_size=60).filter(lambda part: is_section(part + b"\r\n\r\n")).map(lambda part: part + b"\r\n\r\n")
)


@given(HEAD, HEAD)
def test_icp_08_slices_at_the_offsets_are_the_sections(request: bytes, response: bytes) -> None:
    """ICAP-C02"""
    encapsulated = build_encapsulated(request, response, "res-body")
    again = parse_encapsulated(str(encapsulated), LEGAL_IN_REQUEST["RESPMOD"])
    wire = request + response
    offsets = [offset for _, offset in again.sections]
    assert [wire[start:end] for start, end in pairwise(offsets)] == [request, response]
    assert again.head_bytes == len(wire)


def test_a_head_without_one_empty_line_is_not_sent() -> None:
    for bad in (b"GET / HTTP/1.1\r\n", b"\r\n\r\n", b"A\r\n\r\nB\r\n\r\n"):
        with pytest.raises(LocalProtocolError):
            build_encapsulated(bad, None, "null-body")
