"""Any frames, in any split: nothing raises, and nothing is forwarded that a second reader would not read the same way."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.appliance.engine.http import h2_peer
from tests.appliance.engine.http.h2_peer import Fields, Peer, preface
from tests.appliance.engine.http.reference import read_requests, read_responses
from tests.appliance.engine.http.test_h2_corpus import BASE, CASES
from tests.appliance.engine.http.test_properties import cut
from tests.engine_driver import Driver

names = st.sampled_from([name for name, _ in BASE] + [b"host", b"content-length", b"cookie", b"te", b"x", b"connection", b"X"])
values = st.sampled_from([value for _, value in BASE] + [b"", b"0", b"3", b"a\r\nb", b"\0", b" ", b"GET", b"*", b"trailers"])
lists = st.lists(st.tuples(names, values) | st.tuples(st.binary(max_size=3), st.binary(max_size=3)), max_size=6)
fields = lists | lists.map(lambda extra: [*BASE, *extra])
streams = st.sampled_from([0, 1, 1, 1, 2, 3])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    number = draw(streams)
    kind = draw(st.sampled_from(["headers", "headers", "data", "reset", "ping", "settings", "goaway", "continuation", "raw"]))
    if kind == "headers" and number:
        return Peer().headers(number, draw(fields), end=draw(st.booleans()), end_headers=draw(st.booleans()))
    if kind == "data" and number:
        return h2_peer.data(number, draw(st.binary(max_size=5)), end=draw(st.booleans()))
    if kind == "reset" and number:
        return h2_peer.reset(number, draw(st.integers(0, 20)))
    if kind == "continuation" and number:
        return h2_peer.continuation(number, draw(st.binary(max_size=5)), end=draw(st.booleans()))
    if kind == "goaway":
        return h2_peer.goaway(number, draw(st.integers(0, 2)))
    if kind == "settings":
        return h2_peer.settings({draw(st.integers(1, 8)): draw(st.integers(0, 2**32 - 1))})
    return h2_peer.ping() if kind == "ping" else draw(st.binary(max_size=30))


sequences = st.lists(frames(), max_size=8).map(b"".join)
cuts = st.lists(st.integers(0, 300), max_size=5)


@given(sequences, cuts, st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_frames_of_a_client_raise_or_reach_the_upstream_as_something_else(data: bytes, at: list[int], stream: bool) -> None:
    hooks = {"requestheaders": lambda flow: setattr(flow.request, "stream", True)} if stream else {}
    driver = Driver(client_h2=True, tls=True, hooks=hooks)
    for piece in cut(preface() + data, at):
        driver.feed(piece)
    received = bytes(driver.upstreams[0].received)
    if not stream:
        assert len(read_requests(received)) <= 1


@given(sequences, cuts)
@settings(max_examples=400, deadline=None)
def test_no_frames_of_an_upstream_raise_or_reach_the_client_as_something_else(data: bytes, at: list[int]) -> None:
    driver = Driver(tls=True, upstream_h2=True)
    driver.feed(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
    upstream = driver.upstreams[0]
    answer = Peer().headers(1, [(b":status", b"200")], end=False)
    for piece in cut(h2_peer.settings() + answer + data, at):
        if not upstream.closed:
            upstream.send(piece)
    if not upstream.closed:
        upstream.close()
    assert len(read_responses(bytes(driver.sent), [b"GET"], closed=driver.closed)) == 1


@given(st.sampled_from(CASES), cuts)
@settings(max_examples=150, deadline=None)
def test_any_split_of_a_request_has_the_same_outcome(case: tuple[str, Fields, bytes | None, object], at: list[int]) -> None:
    _, fields, body, _ = case
    raw = preface() + Peer().headers(1, fields, end=body is None) + (b"" if body is None else h2_peer.data(1, body))
    outcomes = []
    for pieces in ([raw], cut(raw, at)):
        driver = Driver(client_h2=True, tls=True)
        for piece in pieces:
            driver.feed(piece)
        outcomes.append((bytes(driver.upstreams[0].received), driver.observer.reasons[:1]))
    assert outcomes[0] == outcomes[1]
