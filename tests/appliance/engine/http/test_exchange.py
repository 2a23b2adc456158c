"""Whole HTTP/1 exchanges: streaming, upgrades, parents, error pages, and what ends a connection."""

import inspect
from dataclasses import replace

import pytest
from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.proxy.layers import http as stock
from mitmproxy.proxy.layers.http import HTTPMode, _http1, _http2

from appliance.config.server import Limits
from appliance.domain.reason import Reason
from appliance.engine.http.layer import StrictHttpLayer
from appliance.engine.http.observer import Parent
from appliance.engine.options import EAGER
from tests.appliance.engine.http.reference import read_requests, read_responses
from tests.engine_driver import Driver, Hook, Recorder

GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n"


def streaming(*sides: str) -> dict[str, Hook]:
    hooks: dict[str, Hook] = {}
    if "request" in sides:
        hooks["requestheaders"] = lambda flow: setattr(flow.request, "stream", True)
    if "response" in sides:
        hooks["responseheaders"] = lambda flow: setattr(flow.response, "stream", True)
    return hooks


def test_streamed_request_of_unknown_length_is_chunked() -> None:
    driver = Driver(hooks=streaming("request"))
    driver.feed(CHUNKED + b"3\r\nabc\r\n")
    assert driver.upstreams[0].received.endswith(b"3\r\nabc\r\n")
    driver.feed(b"0\r\nX-Sum: 1\r\n\r\n")
    message = read_requests(bytes(driver.upstreams[0].received))[0]
    assert (message.body, message.trailers, message.framing) == (b"abc", [(b"X-Sum", b"1")], "chunked")


def test_streamed_response_without_length_is_chunked_and_the_connection_stays() -> None:
    driver = Driver(hooks=streaming("response"))
    driver.feed(GET)
    driver.upstreams[0].send(b"HTTP/1.0 200 OK\r\n\r\nabc")
    driver.upstreams[0].close()
    message = read_responses(bytes(driver.sent), [b"GET"], closed=False)[0]
    assert (message.body, message.framing) == (b"abc", "chunked")
    assert not driver.closed


def test_streamed_response_that_breaks_off_is_seen_broken() -> None:
    driver = Driver(hooks=streaming("response"))
    driver.feed(GET)
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    driver.upstreams[0].close()
    assert driver.closed
    assert not driver.sent.endswith(b"0\r\n\r\n")
    assert driver.observer.reasons == [Reason.UPSTREAM_CLOSED]


def test_response_before_the_end_of_the_request_closes_the_connection() -> None:
    driver = Driver(hooks=streaming("request", "response"))
    driver.feed(CHUNKED + b"3\r\nabc\r\n")
    driver.upstreams[0].send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    assert b"Connection: close" in driver.sent
    driver.feed(b"3\r\nabc\r\n0\r\n\r\n" + GET)
    assert driver.closed
    assert driver.upstreams[0].closed
    assert len(driver.flows) == 1


def test_exchange_that_ends_inside_a_body_is_not_taken_up_again() -> None:
    driver = Driver()
    driver.context.options = replace(EAGER, body_size_limit="2")  # type: ignore[assignment]
    driver.feed(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + GET)
    assert driver.sent.startswith(b"HTTP/1.1 413 ")
    assert driver.closed
    assert [name for name, _ in driver.seen] == ["requestheaders", "error"]


def test_body_changed_by_an_addon_gets_its_own_length() -> None:
    def change(flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.content = b"changed"

    driver = Driver(hooks={"response": change})
    driver.feed(GET)
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    message = read_responses(bytes(driver.sent), [b"GET"], closed=False)[0]
    assert (message.body, message.get(b"content-length")) == (b"changed", [b"7"])


def test_streamed_body_longer_than_announced_breaks_the_connection() -> None:
    def grow(flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.stream = lambda data: data + b"more"

    driver = Driver(hooks={"responseheaders": grow})
    driver.feed(GET)
    driver.upstreams[0].send(ANSWER)
    assert driver.closed
    assert driver.observer.reasons == [Reason.INTERNAL_ERROR]


@pytest.mark.parametrize("side", ["request", "response"])
def test_field_that_cannot_be_written_is_never_written(side: str) -> None:
    def inject(flow: http.HTTPFlow) -> None:
        message = flow.request if side == "request" else flow.response
        assert message is not None
        message.headers["X-A"] = "b\r\nX-Evil: c"

    driver = Driver(hooks={side: inject})
    driver.feed(GET)
    if side == "response":
        driver.upstreams[0].send(ANSWER)
    assert b"X-Evil" not in driver.sent
    assert b"X-Evil" not in driver.upstreams[0].received
    assert driver.observer.reasons == [Reason.INTERNAL_ERROR]
    assert driver.sent.startswith(b"HTTP/1.1 500 ")
    assert driver.closed


def test_expect_is_answered_once_and_not_forwarded() -> None:
    driver = Driver()
    driver.feed(b"POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
    assert driver.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    driver.feed(b"ab")
    assert b"xpect" not in driver.upstreams[0].received
    driver.upstreams[0].send(b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER)
    assert driver.sent == ANSWER


def test_head_gets_no_body_from_a_block_page() -> None:
    def block(flow: http.HTTPFlow) -> None:
        flow.response = http.Response.make(403, b"blocked", {"Connection": "close"})

    driver = Driver(hooks={"request": block})
    driver.feed(b"HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n")
    assert driver.upstreams == []
    message = read_responses(bytes(driver.sent), [b"HEAD"], closed=True)[0]
    assert message.get(b"content-length") == [b"7"]
    assert driver.closed


def test_pipelined_requests_are_answered_in_order() -> None:
    driver = Driver()
    driver.feed(GET.replace(b"/ ", b"/1 ") + GET.replace(b"/ ", b"/2 "))
    assert [m.start for m in read_requests(bytes(driver.upstreams[0].received))] == [b"GET /1 HTTP/1.1"]
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
    assert [m.body for m in read_responses(bytes(driver.sent), [], closed=False)] == [b"one", b"two"]


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def test_websocket_is_upgraded_and_relayed() -> None:
    driver = Driver()
    driver.feed(HANDSHAKE)
    request = read_requests(bytes(driver.upstreams[0].received))[0]
    assert (request.get(b"connection"), request.get(b"upgrade")) == ([b"Upgrade"], [b"websocket"])
    driver.upstreams[0].send(SWITCH + b"\x81\x02hi")
    head, _, frames = bytes(driver.sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert frames == b"\x81\x02hi"
    del driver.upstreams[0].received[:]
    driver.feed(b"\x81\x82\0\0\0\0yo")
    frame = bytes(driver.upstreams[0].received)
    assert frame[:2] == b"\x81\x82"
    assert bytes(octet ^ frame[2 + i] for i, octet in enumerate(frame[6:])) == b"yo"
    assert driver.flows[0].websocket is not None


@pytest.mark.parametrize(
    "change", [(b"websocket\r", b"h2c\r"), (b": 13", b": 12"), (b"GET", b"POST"), (b"Sec-WebSocket-Key", b"X-Key")]
)
def test_other_upgrades_are_forwarded_as_plain_requests(change: tuple[bytes, bytes]) -> None:
    driver = Driver()
    driver.feed(HANDSHAKE.replace(*change))
    assert not read_requests(bytes(driver.upstreams[0].received))[0].names & {b"upgrade", b"connection"}
    driver.upstreams[0].send(SWITCH + b"smuggled")
    assert driver.sent.startswith(b"HTTP/1.1 502 ")
    assert driver.observer.reasons == [Reason.UPSTREAM_PROTOCOL]


class ParentObserver(Recorder):
    def parent_of(self, server: Server) -> Parent:
        return Parent("Basic cDpx")

    def error_response(self, status: int, message: str) -> bytes:
        body = f"{status} {message.partition(':')[0]}".encode()
        return b"HTTP/1.1 %d Own\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)


def test_parent_gets_absolute_form_and_its_own_credentials() -> None:
    driver = Driver(HTTPMode.regular, observer=ParentObserver())
    credentials = b"Proxy-Authorization: Basic YTpi\r\n"
    driver.feed(b"GET http://example.com:8080/x?y HTTP/1.1\r\nHost: example.com:8080\r\n" + credentials + b"\r\n")
    message = read_requests(bytes(driver.upstreams[0].received))[0]
    assert message.start == b"GET http://example.com:8080/x?y HTTP/1.1"
    assert message.get(b"proxy-authorization") == [b"Basic cDpx"]
    assert driver.flows[0].request.headers["Proxy-Authorization"] == "Basic YTpi"


def test_error_pages_are_the_observers() -> None:
    driver = Driver(HTTPMode.regular, observer=ParentObserver(), refuse="connect_timeout: 10 s")
    driver.feed(b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n")
    assert driver.sent == b"HTTP/1.1 504 Own\r\nContent-Length: 19\r\nConnection: close\r\n\r\n504 connect_timeout"
    assert driver.closed


def test_plain_error_pages_carry_no_brand_and_no_detail() -> None:
    driver = Driver(HTTPMode.regular, refuse="<script>alert(1)</script>")
    driver.feed(b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n")
    assert driver.sent.startswith(b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain")
    assert b"mitmproxy" not in driver.sent.lower()
    assert b"<script>" not in driver.sent


def test_forward_requests_to_two_hosts_use_two_connections_and_closed_ones_are_forgotten() -> None:
    driver = Driver(HTTPMode.regular)
    for number in range(30):
        driver.feed(b"GET http://h%d.example/ HTTP/1.1\r\nHost: h%d.example\r\n\r\n" % (number, number))
        driver.upstreams[-1].send(ANSWER)
        driver.upstreams[-1].close()
    assert len(driver.upstreams) == 30
    assert len(driver.layer.connections) <= 10  # type: ignore[attr-defined]
    assert len(read_responses(bytes(driver.sent), [], closed=False)) == 30


def test_client_that_leaves_ends_the_flow() -> None:
    driver = Driver()
    driver.feed(GET)
    driver.close()
    assert driver.flows[0].error is not None
    assert driver.flows[0].error.msg.startswith("client_closed")


def test_connect_after_a_request_is_refused() -> None:
    driver = Driver(HTTPMode.regular)
    driver.feed(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n")
    assert driver.flows == []
    assert driver.observer.reasons == [Reason.BAD_REQUEST]


def test_a_violation_is_told_by_the_flow_or_by_the_observer() -> None:
    """Otherwise one refused message would be recorded twice, or not at all."""
    refused = Driver().feed(GET.replace(b"Host", b"Ho st"))
    assert (refused.flows, refused.observer.in_flow) == ([], [])
    assert refused.observer.reasons == [Reason.BAD_REQUEST]
    body = Driver().feed(CHUNKED + b"x\r\n")
    assert body.flows[0].error is not None
    assert body.observer.in_flow == [Reason.BAD_REQUEST]
    response = Driver().feed(GET)
    response.upstreams[0].send(b"nonsense\r\n\r\n")
    assert response.flows[0].error is not None
    assert response.observer.in_flow == [Reason.UPSTREAM_PROTOCOL]


def test_upstream_mode_is_refused() -> None:
    with pytest.raises(ValueError):
        StrictHttpLayer(Driver().context, HTTPMode.upstream, Limits(), Recorder())


def test_mitmproxy_is_the_one_that_the_layer_was_written_for() -> None:
    """The private parts that are overridden or called: a mitmproxy that moves them must not be taken unseen."""
    used = {"_handle_event", "event_to_child", "make_stream", "get_connection", "register_connection"}
    assert used <= vars(stock.HttpLayer).keys()
    assert list(inspect.signature(stock.HttpLayer.get_connection).parameters) == ["self", "event", "reuse"]
    assert {"make_pipe", "passthrough", "mark_done", "_handle_event"} <= vars(_http1.Http1Connection).keys()
    assert {"handle_h2_event", "close_connection", "is_open_for_us", "is_closed"} <= vars(_http2.Http2Connection).keys()
    assert "_handle_event2" in vars(_http2.Http2Client)
    assert "make_error_response" not in inspect.getsource(stock)


class LeavingObserver(Recorder):
    def leaving(self) -> bool:
        return True


def test_c20_a_client_of_a_worker_that_leaves_is_told_with_its_answer() -> None:
    """RFC 9112 section 9.6: no request after this one is served here; what the client sent ahead it repeats elsewhere."""
    driver = Driver(observer=LeavingObserver())
    driver.feed(GET + GET)
    driver.upstreams[0].send(ANSWER)
    [answer] = read_responses(bytes(driver.sent), [b"GET"], closed=True)
    assert answer.get(b"connection") == [b"close"]
    assert driver.closed
    assert len(driver.flows) == 1
