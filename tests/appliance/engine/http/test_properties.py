"""What holds for any split of the bytes, and for any bytes at all."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config.server import Limits
from appliance.engine.http.body import make_reader
from appliance.engine.http.faults import BadMessage
from appliance.engine.http.framing import BodyKind
from tests.appliance.engine.http.reference import read_requests, read_responses
from tests.appliance.engine.http.request_corpus import CASES as REQUESTS
from tests.appliance.engine.http.response_corpus import CASES as RESPONSES
from tests.appliance.engine.http.test_request_corpus import exchange
from tests.appliance.engine.http.test_response_corpus import REQUEST
from tests.engine_driver import Driver

FRAGMENTS = [
    b"GET ", b"POST ", b"/", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: example.com\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t",
    b"\0", b"Content-Length: ", b"3", b"0", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:", b"3\r\nabc\r\n",
    b"0\r\n\r\n", b"abc", b"Connection: close\r\n", b"X: y\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 x\r\n", b";a=b",
    b"http://example.com", b":", b"\xff", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 x\r\n",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n",
]  # fmt: skip
soup = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=40).map(b"".join)
starts = st.sampled_from([b"", b"POST / HTTP/1.1\r\nHost: example.com\r\n", b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"])


def cut(data: bytes, at: list[int]) -> list[bytes]:
    marks = sorted({pos % (len(data) + 1) for pos in at} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(marks)]


@given(st.sampled_from(REQUESTS), st.lists(st.integers(0, 400), max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_split_of_a_request_has_the_same_outcome(case: tuple[str, bytes, object], at: list[int]) -> None:
    _, raw, _ = case
    whole, requests = exchange(raw)
    pieces, same = exchange(raw, cut(raw, at))
    assert [(m.start, m.fields, m.body) for m in same] == [(m.start, m.fields, m.body) for m in requests]
    assert pieces.observer.reasons == whole.observer.reasons


@pytest.mark.parametrize("case", REQUESTS, ids=[case[0] for case in REQUESTS])
def test_octet_by_octet_has_the_same_outcome(case: tuple[str, bytes, object]) -> None:
    _, raw, _ = case
    whole, requests = exchange(raw)
    pieces, same = exchange(raw, [raw[i : i + 1] for i in range(len(raw))])
    assert [(m.start, m.fields, m.body) for m in same] == [(m.start, m.fields, m.body) for m in requests]
    assert pieces.observer.reasons == whole.observer.reasons


def respond(pieces: list[bytes], *, stream: bool = False) -> tuple[bytes, list[object], bool]:
    hooks = {"responseheaders": lambda flow: setattr(flow.response, "stream", True)} if stream else {}
    driver = Driver(hooks=hooks)
    driver.feed(REQUEST)
    for piece in pieces:
        if not driver.upstreams[0].closed:
            driver.upstreams[0].send(piece)
    if not driver.upstreams[0].closed:
        driver.upstreams[0].close()
    return bytes(driver.sent), list(driver.observer.reasons), driver.closed


@given(st.sampled_from(RESPONSES), st.lists(st.integers(0, 400), max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_split_of_a_response_has_the_same_outcome(case: tuple[str, bytes, object], at: list[int]) -> None:
    _, raw, _ = case
    assert respond(cut(raw, at)) == respond([raw])


@given(starts, soup, st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=400, deadline=None)
def test_no_bytes_of_a_client_raise_or_reach_the_upstream_as_something_else(start: bytes, data: bytes, at: list[int]) -> None:
    _, requests = exchange(start + data, cut(start + data, at))
    for message in requests:
        assert message.start.endswith(b" HTTP/1.1")


@given(soup, st.lists(st.integers(0, 400), max_size=6), st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_bytes_of_an_upstream_raise_or_reach_the_client_as_something_else(data: bytes, at: list[int], stream: bool) -> None:
    sent, reasons, closed = respond(cut(b"HTTP/1.1 200 OK\r\n" + data, at), stream=stream)
    if not (stream and reasons):
        assert len(read_responses(sent, [b"GET"], closed=closed)) == 1


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=6), st.lists(st.integers(0, 300), max_size=8), st.binary(max_size=5)
)
@settings(deadline=None)
def test_chunked_reader_returns_what_was_encoded(chunks: list[bytes], at: list[int], rest: bytes) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" + rest
    reader = make_reader((BodyKind.CHUNKED, 0), Limits())
    out: list[bytes] = []
    left = b"".join(reader.feed(piece, out) if not reader.done else piece for piece in cut(data, at))
    assert (b"".join(out), left, reader.done) == (b"".join(chunks), rest, True)


@given(st.binary(max_size=60) | soup)
@settings(deadline=None)
def test_readers_raise_nothing_but_bad_message(data: bytes) -> None:
    for kind, length in ((BodyKind.CHUNKED, 0), (BodyKind.FIXED, 10), (BodyKind.UNTIL_CLOSE, 0)):
        reader = make_reader((kind, length), Limits())
        out: list[bytes] = []
        with suppress(BadMessage):
            rest = reader.feed(data, out)
            assert reader.done or not rest
            if not reader.done:
                reader.end_of_stream()
        assert len(b"".join(out)) <= len(data)


def test_reference_reader_refuses_what_it_should() -> None:
    refused = 0
    for raw in (b"GET / HTTP/1.1\r\n\r\n", b"GET /\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n", b"X"):
        try:
            read_requests(raw)
        except Exception:
            refused += 1
    assert refused == 4
