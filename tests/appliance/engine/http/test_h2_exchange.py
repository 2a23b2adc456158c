"""HTTP/2 on either side: limits per connection, floods, draining, and the framing of what goes to the other protocol."""

import pytest
from hyperframe.frame import AltSvcFrame
from mitmproxy.proxy.layers.http import HTTPMode

from appliance.config.server import Limits
from appliance.domain.reason import Reason
from appliance.engine.http.faults import BadMessage
from appliance.engine.http.h2meter import FrameMeter
from appliance.engine.http.server2 import GO_ELSEWHERE
from tests.appliance.engine.http import h2_peer
from tests.appliance.engine.http.h2_peer import Fields, Peer, Received, decode, preface
from tests.appliance.engine.http.reference import read_requests, read_responses
from tests.engine_driver import Driver, Recorder

GET: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"example.com")]
POST: Fields = [(b":method", b"POST"), *GET[1:]]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMITS = Limits(h2_streams=4, h2_streams_per_second=20, h2_frames_per_second=30, header_size=2000, header_count=10)


def client(limits: Limits = LIMITS, *, upstream_h2: bool = False) -> tuple[Driver, Peer]:
    driver = Driver(client_h2=True, tls=True, limits=limits, upstream_h2=upstream_h2)
    driver.feed(preface())
    return driver, Peer()


def received(driver: Driver) -> Received:
    return decode(bytes(driver.sent))


def test_limits_are_announced() -> None:
    driver, _ = client()
    assert received(driver).settings[3] == 4
    assert received(driver).settings[6] == 2000


def test_header_list_size_at_the_limit() -> None:
    def send(size: int) -> Driver:
        driver, peer = client()
        used = sum(len(name) + len(value) + 32 for name, value in GET) + 32 + 1
        driver.feed(peer.headers(1, [*GET, (b"x", b"a" * (size - used))]))
        return driver

    assert send(2000).observer.violations == []
    refused = send(2001)
    assert refused.observer.reasons == [Reason.HEADER_TOO_LARGE]
    assert received(refused).goaway is not None
    assert refused.closed


def test_header_count_at_the_limit() -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, [*GET, *[(b"x", b"y")] * 10]))
    assert driver.observer.violations == []
    driver.feed(peer.headers(3, [*GET, *[(b"x", b"y")] * 11]))
    assert driver.observer.reasons == [Reason.TOO_MANY_HEADERS]
    assert received(driver).status(3) == b"431"
    assert not driver.closed


def test_url_length_at_the_limit() -> None:
    driver, peer = client(Limits(url_length=50))
    path = [item if item[0] != b":path" else (b":path", b"/" + b"a" * 49) for item in GET]
    driver.feed(peer.headers(1, path))
    assert driver.observer.violations == []
    path[2] = (b":path", b"/" + b"a" * 50)
    driver.feed(peer.headers(3, path))
    assert driver.observer.reasons == [Reason.URL_TOO_LONG]
    assert received(driver).status(3) == b"414"


def test_header_bomb_is_refused() -> None:
    driver, peer = client()
    first = peer.headers(1, [*GET, (b"x", b"a" * 1000)])
    driver.feed(first)
    # One octet per repetition: the entry stands in the table.
    driver.feed(peer.headers(3, [*GET, *[(b"x", b"a" * 1000)] * 8]))
    assert driver.observer.reasons == [Reason.HEADER_TOO_LARGE]
    assert driver.closed


def test_continuation_flood_is_cut_by_size() -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, GET, end_headers=False))
    for _ in range(10):
        driver.feed(h2_peer.continuation(1, b"\0" * 500))
    assert driver.observer.reasons == [Reason.HEADER_TOO_LARGE]
    assert received(driver).goaway == 11


def test_continuation_flood_is_cut_by_count() -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, GET, end_headers=False) + h2_peer.continuation(1, b"") * 40)
    assert driver.observer.reasons == [Reason.HTTP2_FLOOD]


@pytest.mark.parametrize(
    ("frame", "name"),
    [(h2_peer.ping(), "ping"), (h2_peer.settings(), "settings"), (b"\0\0\4\x08\0\0\0\0\0\0\0\0\1", "window_update"),
     (b"\0\0\0\xfe\0\0\0\0\0", "unknown"), (b"\0\0\5\2\0\0\0\0\1\0\0\0\0\0", "priority")],
)  # fmt: skip
def test_control_frames_at_the_limit(frame: bytes, name: str) -> None:
    driver, _ = client()
    # The preface's SETTINGS is the first of thirty.
    driver.feed(frame * 29)
    assert driver.observer.violations == [], name
    driver.clock.now += 1.0
    driver.feed(frame * 30)
    assert driver.observer.violations == [], name
    driver.feed(frame)
    assert driver.observer.reasons == [Reason.HTTP2_FLOOD]
    assert received(driver).goaway == 11
    assert driver.closed


@pytest.mark.parametrize("body", [b"", b"x" * 15])
def test_empty_and_tiny_data_flood_is_cut(body: bytes) -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, POST, end=False))
    driver.feed(h2_peer.data(1, body, end=False) * 29)
    assert driver.observer.violations == []
    driver.feed(h2_peer.data(1, body, end=False))
    assert driver.observer.reasons == [Reason.HTTP2_FLOOD]
    assert driver.flows[0].error is not None
    assert driver.flows[0].error.msg.startswith("http2_flood")


def test_data_that_carries_octets_is_not_counted() -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, POST, end=False))
    driver.feed(h2_peer.data(1, b"x" * 16, end=False) * 500 + h2_peer.data(1, b"", end=True))
    assert driver.observer.violations == []
    assert read_requests(bytes(driver.upstreams[0].received))[0].body == b"x" * 8000


def test_rapid_reset_is_cut_by_streams_per_second() -> None:
    driver, peer = client(LIMITS.model_copy(update={"h2_frames_per_second": 1000}))
    for number in range(1, 43, 2):
        driver.feed(peer.headers(number, GET) + h2_peer.reset(number))
    assert driver.observer.reasons == [Reason.HTTP2_FLOOD]
    assert "streams per second" in driver.observer.violations[0][1]
    assert len(driver.flows) == 20


def test_streams_at_the_concurrency_limit() -> None:
    driver, peer = client()
    for number in (1, 3, 5, 7):
        driver.feed(peer.headers(number, POST, end=False))
    assert driver.observer.violations == []
    driver.feed(peer.headers(9, POST, end=False))
    assert driver.observer.reasons == [Reason.HTTP2_FLOOD]
    assert driver.closed


def test_flows_of_reset_streams_count_until_they_end() -> None:
    driver = Driver(client_h2=True, tls=True, limits=LIMITS)
    peer = Peer()
    driver.feed(preface())
    layer = driver.layer
    layer.streams.update({number: object() for number in range(1001, 1009)})  # type: ignore[attr-defined]
    driver.feed(peer.headers(1, GET))
    assert driver.observer.reasons == [Reason.HTTP2_FLOOD]


def test_window_updates_that_our_data_explains_are_no_flood() -> None:
    now = 0.0
    meter = FrameMeter(10, 10, 1000, lambda: now, preface=False)
    update = b"\0\0\4\x08\0\0\0\0\0\0\0\0\1"
    for _ in range(50):
        meter.sent(16384)
        meter.measure(update * 2)
    with pytest.raises(BadMessage):
        meter.measure(update * 21)


def test_meter_sees_frames_across_any_split() -> None:
    frames = preface() + h2_peer.ping() * 4 + h2_peer.data(1, b"abc" * 100) + h2_peer.ping() * 5
    for size in (1, 2, 8, 9, 10, 17, 100):
        meter = FrameMeter(10, 10, 1000, lambda: 0.0, preface=True)
        for pos in range(0, len(frames), size):
            meter.measure(frames[pos : pos + size])
        with pytest.raises(BadMessage):
            meter.measure(h2_peer.ping())


def test_upstream_flood_is_cut() -> None:
    driver, peer = client(upstream_h2=True)
    driver.feed(peer.headers(1, GET))
    driver.upstreams[0].send(h2_peer.settings() + h2_peer.ping() * 40)
    assert driver.observer.reasons == [Reason.UPSTREAM_PROTOCOL]
    assert received(driver).status(1) == b"502"


def test_encoder_table_is_capped() -> None:
    driver, _ = client()
    driver.feed(h2_peer.settings({1: 2**31}))
    side = driver.layer.connections[driver.context.client]  # type: ignore[attr-defined]
    assert side.h2_conn.encoder.header_table_size == 4096


def test_http1_response_to_http2_client() -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, GET))
    driver.upstreams[0].send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\n"
        b"X-A: b\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    answer = received(driver)
    assert [name for name, _ in answer.headers[1][0]] == [b":status", b"x-a"]
    assert answer.headers[1][1] == [(b"x-sum", b"1")]
    assert answer.body[1] == b"ok"
    assert 1 in answer.ended


def test_http1_upstream_connection_is_reused_when_idle_only() -> None:
    driver = Driver(HTTPMode.regular, client_h2=True)
    peer, plain = Peer(), [(name, b"http" if name == b":scheme" else value) for name, value in GET]
    driver.feed(preface() + peer.headers(1, plain))
    driver.feed(peer.headers(3, plain))
    assert [len(read_requests(bytes(up.received))) for up in driver.upstreams] == [1, 1]
    driver.upstreams[1].send(ANSWER)
    driver.feed(peer.headers(5, plain))
    assert [len(read_requests(bytes(up.received))) for up in driver.upstreams] == [1, 2]
    assert received(driver).body == {3: b"ok"}


def test_header_blocks_of_several_streams_do_not_add_up() -> None:
    meter = FrameMeter(10, 10, 1000, lambda: 0.0, preface=False)
    peer = Peer()
    for number in (1, 3, 5, 7):
        meter.measure(peer.headers(number, [(b"x", bytes([number]) * 900)]))


def http2_upstream() -> tuple[Driver, Peer, Peer]:
    driver, peer = client(upstream_h2=True)
    driver.upstreams[0].send(h2_peer.settings())
    driver.feed(peer.headers(1, GET))
    return driver, peer, Peer()


def test_http2_to_http2() -> None:
    driver, _, origin = http2_upstream()
    request = decode(bytes(driver.upstreams[0].received))
    assert dict(request.headers[1][0])[b":authority"] == b"example.com"
    driver.upstreams[0].send(origin.headers(1, [(b":status", b"200"), (b"content-length", b"2")], end=False))
    driver.upstreams[0].send(h2_peer.data(1, b"ok"))
    assert received(driver).body[1] == b"ok"
    assert driver.observer.violations == []


@pytest.mark.parametrize(
    ("fields", "body", "reason"),
    [
        ([(b":status", b"200"), (b"connection", b"close")], b"ok", Reason.UPSTREAM_AMBIGUOUS),
        ([(b":status", b"200"), (b"transfer-encoding", b"chunked")], b"ok", Reason.UPSTREAM_AMBIGUOUS),
        ([(b":status", b"200"), (b"x", b"a\r\nSet-Cookie: b")], b"ok", Reason.UPSTREAM_PROTOCOL),
        ([(b":status", b"200"), (b"X", b"a")], b"ok", Reason.UPSTREAM_PROTOCOL),
        ([(b":status", b"2000")], b"ok", Reason.UPSTREAM_PROTOCOL),
        ([(b":status", b"200"), (b":path", b"/")], b"ok", Reason.UPSTREAM_PROTOCOL),
        ([(b":status", b"200"), (b"content-length", b"3")], b"ok", Reason.UPSTREAM_AMBIGUOUS),
        ([(b":status", b"200"), (b"content-length", b"1")], b"ok", Reason.UPSTREAM_AMBIGUOUS),
        ([(b":status", b"200"), (b"content-length", b"+2")], b"ok", Reason.UPSTREAM_AMBIGUOUS),
        ([(b":status", b"204")], b"ok", Reason.UPSTREAM_AMBIGUOUS),
        ([(b":status", b"304")], b"ok", Reason.UPSTREAM_AMBIGUOUS),
    ],
)
def test_http2_response_is_refused(fields: Fields, body: bytes, reason: Reason) -> None:
    driver, _, origin = http2_upstream()
    driver.upstreams[0].send(origin.headers(1, fields, end=False))
    if not driver.upstreams[0].closed:
        driver.upstreams[0].send(h2_peer.data(1, body))
    assert driver.observer.reasons == [reason]
    assert received(driver).status(1) == b"502"
    assert b"ok" not in received(driver).body[1]


def test_informational_flood_of_an_http2_upstream_ends_the_stream() -> None:
    driver, _, origin = http2_upstream()
    for _ in range(16):
        driver.upstreams[0].send(origin.headers(1, [(b":status", b"103")], end=False))
    assert driver.observer.violations == []
    driver.upstreams[0].send(origin.headers(1, [(b":status", b"103")], end=False))
    assert driver.observer.reasons == [Reason.UPSTREAM_PROTOCOL]


def test_graceful_goaway_lets_the_open_stream_finish_and_takes_no_other() -> None:
    driver, peer, origin = http2_upstream()
    driver.upstreams[0].send(h2_peer.goaway(1))
    assert not driver.upstreams[0].closed
    driver.feed(peer.headers(3, GET))
    assert set(decode(bytes(driver.upstreams[0].received)).headers) == {1}
    driver.upstreams[0].send(origin.headers(1, [(b":status", b"200")], end=False) + h2_peer.data(1, b"ok"))
    assert received(driver).body[1] == b"ok"
    assert driver.upstreams[0].closed
    assert driver.observer.violations == []


def test_goaway_fails_streams_that_were_not_taken() -> None:
    driver, peer, _ = http2_upstream()
    driver.feed(peer.headers(3, GET))
    driver.upstreams[0].send(h2_peer.goaway(1))
    assert received(driver).status(3) == b"502"
    assert 1 not in received(driver).ended


def test_http2_response_to_http1_client_is_framed() -> None:
    for stream in (False, True):
        hooks = {"responseheaders": lambda flow: setattr(flow.response, "stream", True)} if stream else {}
        driver = Driver(tls=True, upstream_h2=True, hooks=hooks)
        driver.upstreams[0].send(h2_peer.settings())
        driver.feed(b"GET / HTTP/1.1\r\nHost: example.com\r\nTE: trailers\r\n\r\n")
        request = decode(bytes(driver.upstreams[0].received))
        assert dict(request.headers[1][0])[b":authority"] == b"example.com"
        assert dict(request.headers[1][0])[b"te"] == b"trailers"
        assert b"host" not in dict(request.headers[1][0])
        origin = Peer()
        driver.upstreams[0].send(origin.headers(1, [(b":status", b"200")], end=False) + h2_peer.data(1, b"ok", end=False))
        driver.upstreams[0].send(origin.headers(1, [(b"grpc-status", b"0")]))
        message = read_responses(bytes(driver.sent), [b"GET"], closed=False)[0]
        assert (message.start, message.body, message.framing) == (b"HTTP/1.1 200 OK", b"ok", "chunked")
        assert message.trailers == [(b"grpc-status", b"0")]


def test_refused_connect_answers_the_stream_without_branding() -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, [(b":method", b"CONNECT"), (b":authority", b"evil.example:443")]))
    answer = received(driver)
    assert answer.status(1) == b"400"
    assert b"mitmproxy" not in driver.sent


def test_expect_is_answered_once_and_not_forwarded() -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, [*POST, (b"expect", b"100-continue")], end=False))
    assert received(driver).status(1) == b"100"
    driver.feed(h2_peer.data(1, b"ab"))
    assert b"xpect" not in driver.upstreams[0].received
    driver.upstreams[0].send(ANSWER)
    assert [dict(fields)[b":status"] for fields in received(driver).headers[1]] == [b"100", b"200"]


def test_client_that_resets_its_stream_ends_the_flow() -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, GET) + h2_peer.reset(1))
    assert driver.flows[0].error is not None
    assert driver.flows[0].error.msg.startswith("client_closed")
    assert not driver.closed


def test_backlog_counts_what_waits_for_the_window() -> None:
    driver, peer = client()
    driver.feed(peer.headers(1, GET))
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)
    assert driver.layer.client_backlog() == 100000 - 65535  # type: ignore[attr-defined]


def test_c13_frames_that_name_alternatives_go_no_further() -> None:
    """ALTSVC (RFC 7838 section 4) on the connection and on a stream, and ORIGIN (RFC 8336): not to the client."""
    driver, peer = client(upstream_h2=True)
    driver.feed(peer.headers(1, GET))
    server = Peer()
    connection_wide = AltSvcFrame(0, origin=b"https://example.com", field=b'h3=":443"').serialize()
    on_stream = AltSvcFrame(1, origin=b"", field=b'h3=":443"').serialize()
    origin_frame = b"\0\0\x15\x0c\0\0\0\0\0\0\x13https://example.com"
    driver.upstreams[0].send(h2_peer.settings() + connection_wide + origin_frame + on_stream)
    driver.upstreams[0].send(server.headers(1, [(b":status", b"200")], end=False) + h2_peer.data(1, b"ok"))
    assert (received(driver).status(1), received(driver).body[1]) == (b"200", b"ok")
    assert b"h3" not in bytes(driver.sent)
    assert b"https://example.com" not in bytes(driver.sent)
    assert driver.observer.violations == []


def test_c13_a_client_may_not_name_alternatives_to_a_server() -> None:
    driver, peer = client(upstream_h2=True)
    driver.feed(AltSvcFrame(0, origin=b"https://example.com", field=b'h3=":443"').serialize() + peer.headers(1, GET))
    assert b"h3" not in bytes(driver.upstreams[0].received)


class LeavingObserver(Recorder):
    gone = False

    def leaving(self) -> bool:
        return self.gone


def test_c20_a_client_of_a_worker_that_leaves_opens_no_more_streams_and_loses_none() -> None:
    """RFC 9113 section 6.8: the GOAWAY names the highest identifier, so that nothing under way is in doubt."""
    observer = LeavingObserver()
    driver = Driver(HTTPMode.regular, client_h2=True, observer=observer)
    peer, plain = Peer(), [(name, b"http" if name == b":scheme" else value) for name, value in GET]
    driver.feed(preface() + peer.headers(1, plain))
    driver.feed(peer.headers(3, plain))
    assert received(driver).goaway is None
    observer.gone = True
    for upstream in driver.upstreams:
        upstream.send(ANSWER)
    answer = received(driver)
    assert answer.goaway == 0
    assert bytes(driver.sent).count(GO_ELSEWHERE) == 1
    assert answer.body == {1: b"ok", 3: b"ok"}
    # one that the client had opened before it read that
    driver.feed(peer.headers(5, plain))
    max(driver.upstreams, key=lambda upstream: len(upstream.received)).send(ANSWER)
    assert received(driver).body[5] == b"ok"
