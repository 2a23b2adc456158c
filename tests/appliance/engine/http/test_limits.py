"""Each limit holds at its value, and one more is refused with its own reason."""

import pytest
from mitmproxy.http import HTTPFlow, Response
from mitmproxy.proxy.layers.http import HTTPMode

from appliance.config.server import Limits
from appliance.domain.errors import ClientError
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.engine.flat import FlatHttpLayer
from appliance.engine.http.body import ChunkedReader
from appliance.engine.http.faults import BadMessage, Fault
from appliance.engine.http.head import read_head
from appliance.engine.http.request_target import TargetForm
from appliance.engine.http.server1 import MAX_AT_ONCE
from appliance.engine.task_http import TaskHttpLayer
from tests.engine_driver import Driver

HEAD = b"GET / HTTP/1.1\r\nHost: example.com\r\n"
LIMITS = Limits(
    header_size=1000, header_count=10, url_length=100, chunk_extension=20, trailer_size=60, response_header_size=1000
)


def refusal(data: bytes, limits: Limits = LIMITS) -> Reason | None:
    try:
        assert read_head(data, limits) is not None
    except ClientError as error:
        return error.reason
    return None


def of_size(size: int) -> bytes:
    return HEAD + b"X: " + b"a" * (size - len(HEAD) - 7) + b"\r\n\r\n"


def test_header_size_at_the_limit() -> None:
    assert len(of_size(1000)) == 1000
    assert refusal(of_size(1000)) is None
    assert refusal(b"\r\n" + of_size(1000)) is None
    assert refusal(of_size(1001)) is Reason.HEADER_TOO_LARGE


def test_endless_header_is_refused_before_it_ends() -> None:
    driver = Driver(limits=LIMITS)
    driver.feed(HEAD + b"X: ")
    for _ in range(20):
        driver.feed(b"a" * 50)
    assert driver.closed
    assert driver.observer.reasons == [Reason.HEADER_TOO_LARGE]
    assert driver.sent.startswith(b"HTTP/1.1 431 ")


def test_header_count_at_the_limit() -> None:
    assert refusal(HEAD + b"X: 1\r\n" * 9 + b"\r\n") is None
    assert refusal(HEAD + b"X: 1\r\n" * 10 + b"\r\n") is Reason.TOO_MANY_HEADERS


def test_url_length_at_the_limit() -> None:
    assert refusal(HEAD.replace(b"/ ", b"/" + b"a" * 99 + b" ", 1) + b"\r\n") is None
    assert refusal(HEAD.replace(b"/ ", b"/" + b"a" * 100 + b" ", 1) + b"\r\n") is Reason.URL_TOO_LONG


def test_endless_url_is_refused_before_it_ends() -> None:
    driver = Driver(limits=LIMITS)
    driver.feed(b"GET /")
    for _ in range(40):
        driver.feed(b"abcde")
    assert driver.observer.reasons == [Reason.URL_TOO_LONG]
    assert driver.sent.startswith(b"HTTP/1.1 414 ")


@pytest.mark.parametrize("step", [1, 1000])
def test_chunk_extension_at_the_limit(step: int) -> None:
    def feed(extension: int) -> None:
        data = b"1;" + b"a" * (extension - 1) + b"\r\nx\r\n0\r\n\r\n"
        reader = ChunkedReader(LIMITS)
        for pos in range(0, len(data), step):
            reader.feed(data[pos : pos + step], [])
        assert reader.done

    feed(20)
    with pytest.raises(BadMessage) as caught:
        feed(21)
    assert caught.value.fault is Fault.EXTENSION


def test_endless_chunk_extension_reaches_the_client_as_its_reason() -> None:
    driver = Driver(limits=LIMITS)
    driver.feed(HEAD.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n1;")
    driver.feed(b"a" * 100)
    assert driver.observer.reasons == [Reason.CHUNK_EXTENSION_TOO_LONG]
    assert driver.sent.startswith(b"HTTP/1.1 400 ")
    assert driver.closed
    assert driver.flows[0].error is not None


def test_many_chunk_extensions_are_paid_for_with_body_octets() -> None:
    reader = ChunkedReader(LIMITS)
    with pytest.raises(BadMessage) as caught:
        reader.feed((b"1;" + b"a" * 19 + b"\r\nx\r\n") * 3, [])
    assert caught.value.fault is Fault.EXTENSION


@pytest.mark.parametrize("step", [1, 1000])
def test_trailer_size_at_the_limit(step: int) -> None:
    def feed(size: int) -> None:
        data = b"0\r\nX: " + b"a" * (size - 5) + b"\r\n\r\n"
        reader = ChunkedReader(LIMITS)
        for pos in range(0, len(data), step):
            reader.feed(data[pos : pos + step], [])
        assert reader.done

    feed(60)
    with pytest.raises(BadMessage) as caught:
        feed(61)
    assert caught.value.fault is Fault.TRAILERS


def test_endless_trailer_is_refused_before_it_ends() -> None:
    driver = Driver(limits=LIMITS)
    driver.feed(HEAD.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ")
    driver.feed(b"a" * 64)
    assert driver.observer.reasons == [Reason.TRAILERS_TOO_LARGE]


def test_response_header_size_at_the_limit() -> None:
    def send(size: int) -> Driver:
        driver = Driver(limits=LIMITS)
        driver.feed(HEAD + b"\r\n")
        start = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "
        driver.upstreams[0].send(start + b"a" * (size - len(start) - 4) + b"\r\n\r\n")
        return driver

    assert send(1000).observer.violations == []
    refused = send(1001)
    assert refused.observer.reasons == [Reason.UPSTREAM_HEADER_TOO_LARGE]
    assert refused.sent.startswith(b"HTTP/1.1 502 ")


def test_endless_response_header_is_refused_before_it_ends() -> None:
    driver = Driver(limits=LIMITS)
    driver.feed(HEAD + b"\r\n")
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(30):
        if not driver.upstreams[0].closed:
            driver.upstreams[0].send(b"a" * 50)
    assert driver.observer.reasons == [Reason.UPSTREAM_HEADER_TOO_LARGE]
    assert driver.upstreams[0].closed


def test_response_header_count_at_the_limit() -> None:
    for count, expected in ((9, []), (10, [Reason.UPSTREAM_HEADER_TOO_LARGE])):
        driver = Driver(limits=LIMITS)
        driver.feed(HEAD + b"\r\n")
        driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"X: 1\r\n" * count + b"\r\n")
        assert driver.observer.reasons == expected


def test_pipelined_bytes_are_bounded_and_the_first_answer_still_arrives() -> None:
    driver = Driver()
    driver.feed(HEAD + b"\r\n")
    for _ in range(40):
        driver.feed((HEAD + b"\r\n") * 200)
    assert driver.observer.reasons == [Reason.RESOURCE_EXHAUSTED]
    driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert driver.sent.endswith(b"Connection: close\r\n\r\nok")
    assert driver.closed
    assert len(driver.flows) == 1


@pytest.mark.security
@pytest.mark.parametrize("kind", [TaskHttpLayer, FlatHttpLayer])
@pytest.mark.parametrize("hook", ["requestheaders", "request"])
@pytest.mark.parametrize("ahead", [MAX_AT_ONCE, MAX_AT_ONCE + 1, 3000])
def test_requests_that_are_answered_at_once_are_as_many_in_a_row(kind: type[TaskHttpLayer], hook: str, ahead: int) -> None:
    """Thousands of blocked requests in one read ended in a RecursionError, after half a second for this client alone."""

    def block(flow: HTTPFlow) -> None:
        flow.response = Response.make(403, b"blocked")

    class Pipelining(Driver):
        layer_type = kind

    driver = Pipelining(tls=True, hooks={hook: block})
    driver.feed((HEAD + b"\r\n") * ahead)
    served = min(ahead, MAX_AT_ONCE + 1)
    assert driver.sent.count(b"HTTP/1.1 403") == served == len(driver.flows)
    assert driver.closed == (ahead > MAX_AT_ONCE)
    assert driver.sent.count(b"Connection: close") == int(driver.closed)
    assert not any(flow.live for flow in driver.flows)


def test_the_next_requests_are_counted_anew() -> None:
    driver = Driver(tls=True)
    driver.feed((HEAD + b"\r\n") * (3 * MAX_AT_ONCE))
    for _ in range(3 * MAX_AT_ONCE):
        driver.upstreams[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert driver.sent.count(b"HTTP/1.1 200 OK") == 3 * MAX_AT_ONCE
    assert not driver.closed


def test_read_head_recognises_connect() -> None:
    head = read_head(b"CONNECT Example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n\x16\x03\x01", LIMITS)
    assert head is not None
    assert head.form is TargetForm.AUTHORITY
    assert head.method == b"CONNECT"
    assert head.target == Target("example.com", 443)
    assert head.size == len(b"CONNECT Example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")


@pytest.mark.parametrize(
    "target",
    [b"example.com", b"example.com:0", b"a@example.com:443", b"http://example.com:443", b"/", b":443", b"0x7f.1:443",
     b"example.com:443:443", b"[::1:443", b"example.com:+443", b"*"],
)  # fmt: skip
def test_read_head_refuses_other_connect_targets(target: bytes) -> None:
    assert refusal(b"CONNECT " + target + b" HTTP/1.1\r\nHost: example.com:443\r\n\r\n") is Reason.BAD_REQUEST


def test_read_head_refuses_connect_with_a_body_or_another_host() -> None:
    start = b"CONNECT example.com:443 HTTP/1.1\r\n"
    assert refusal(start + b"Host: example.com:443\r\nContent-Length: 5\r\n\r\n") is Reason.AMBIGUOUS_MESSAGE
    assert refusal(start + b"Host: evil.example:443\r\n\r\n") is Reason.AMBIGUOUS_MESSAGE


def test_read_head_waits_for_more() -> None:
    whole = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n"
    for end in range(len(whole)):
        assert read_head(whole[:end], LIMITS) is None


def test_forward_mode_takes_absolute_form_only() -> None:
    lines = ((b"GET http://example.com/x HTTP/1.1", True), (b"GET / HTTP/1.1", False), (b"OPTIONS * HTTP/1.1", False))
    for line, forwarded in lines:
        driver = Driver(HTTPMode.regular)
        driver.feed(line + b"\r\nHost: example.com\r\n\r\n")
        assert bool(driver.upstreams) is forwarded
        assert driver.observer.reasons == ([] if forwarded else [Reason.BAD_REQUEST])
