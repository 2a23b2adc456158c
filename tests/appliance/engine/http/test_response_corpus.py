import pytest

from appliance.domain.reason import Reason
from tests.appliance.engine.http.reference import Message, read_requests, read_responses
from tests.appliance.engine.http.response_corpus import CASES, EXTRA, Case
from tests.engine_driver import Driver

pytestmark = pytest.mark.security

REQUEST = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
LEAKS = {b"keep-alive", b"proxy-connection", b"upgrade", b"x-secret", b"proxy-authenticate"}


def answer(raw: bytes, request: bytes = REQUEST, *, close: bool = True) -> tuple[Driver, Message]:
    driver = Driver()
    driver.feed(request)
    upstream = driver.upstreams[0]
    upstream.send(raw)
    if close and not upstream.closed:
        upstream.close()
    method = request.split(b" ")[0]
    messages = read_responses(bytes(driver.sent), [method], closed=driver.closed)
    assert len(messages) == 1
    return driver, messages[0]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_http1_response_is_refused_or_unambiguous(case: Case) -> None:
    _, raw, expected = case
    driver, message = answer(raw)
    if isinstance(expected, Reason):
        assert driver.observer.reasons == [expected]
        assert message.start == b"HTTP/1.1 502 Bad Gateway"
        assert driver.upstreams[0].closed
        assert driver.closed
        assert driver.flows[0].error is not None
        assert driver.flows[0].error.msg.startswith(expected.word)
    else:
        assert driver.observer.violations == []
        assert message.body == expected
        assert not message.names & LEAKS
        assert message.framing in ("fixed", "chunked", "none")
        assert not driver.closed


@pytest.mark.parametrize("case", EXTRA, ids=[case[0] for case in EXTRA])
def test_octets_after_a_response_never_answer_the_next_request(case: Case) -> None:
    _, raw, expected = case
    driver, message = answer(raw, close=False)
    assert message.body == expected
    assert driver.upstreams[0].closed
    driver.take()
    driver.feed(REQUEST)
    driver.upstreams[1].send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
    assert b"evil" not in driver.sent
    assert driver.sent.endswith(b"next")


def test_octets_between_two_requests_close_the_connection() -> None:
    driver, _ = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", close=False)
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert driver.upstreams[0].closed
    assert driver.observer.reasons == [Reason.UPSTREAM_PROTOCOL]
    driver.take()
    driver.feed(REQUEST)
    assert len(driver.upstreams) == 2
    assert driver.sent == b""


@pytest.mark.parametrize("fields", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_response_to_head_has_no_body(fields: bytes) -> None:
    request = b"HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n"
    driver, message = answer(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n", request, close=False)
    assert message.body == b""
    assert message.get(b"content-length") == ([b"5"] if b"5" in fields else [])
    assert not driver.closed
    assert not driver.upstreams[0].closed


def test_body_after_head_response_closes_the_upstream() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    driver, message = answer(raw, b"HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n", close=False)
    assert message.body == b""
    assert driver.upstreams[0].closed


def test_response_to_http10_is_framed_without_chunks() -> None:
    driver = Driver(hooks={"responseheaders": lambda flow: setattr(flow.response, "stream", True)})
    driver.feed(b"GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n")
    assert b"HTTP/1.1\r\n" in driver.upstreams[0].received
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
    assert driver.closed
    message = read_responses(bytes(driver.sent), [b"GET"], closed=True)[0]
    assert message.body == b"abc"
    assert message.framing == "close"
    assert message.get(b"connection") == [b"close"]


def test_http10_keep_alive_with_known_length_stays_open() -> None:
    driver = Driver()
    driver.feed(b"GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n")
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    message = read_responses(bytes(driver.sent), [b"GET"], closed=False)[0]
    assert message.get(b"connection") == [b"keep-alive"]
    assert not driver.closed


def test_legal_trailers_pass_in_both_directions() -> None:
    driver = Driver()
    driver.feed(b"POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
    driver.feed(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n")
    request = read_requests(bytes(driver.upstreams[0].received))[0]
    assert request.trailers == [(b"X-Sum", b"1")]
    body = b"2\r\nok\r\n0\r\nX-Sum: 2\r\nHost: x\r\n\r\n"
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    response = read_responses(bytes(driver.sent), [b"POST"], closed=False)[0]
    assert response.trailers == [(b"X-Sum", b"2")]
    assert response.body == b"ok"


def test_corpus_is_as_large_as_promised() -> None:
    assert len(CASES) + len(EXTRA) >= 70
    assert len({name for name, _, _ in CASES + EXTRA}) == len(CASES) + len(EXTRA)
