"""Every message of the corpus is refused with its reason, or forwarded so that a second reader sees the same messages."""

import pytest

from appliance.domain.reason import Reason
from tests.appliance.engine.http.reference import Message, read_requests, read_responses
from tests.appliance.engine.http.request_corpus import CASES, Case, Expected
from tests.engine_driver import Driver

pytestmark = pytest.mark.security

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LEAKS = {
    b"keep-alive", b"proxy-connection", b"upgrade", b"http2-settings", b"x-secret", b"x-other", b"proxy-authorization",
    b"expect",
}  # fmt: skip


def exchange(raw: bytes, pieces: list[bytes] | None = None) -> tuple[Driver, list[Message]]:
    """Feed ``raw`` and answer each request that arrives upstream, until nothing moves any more."""
    driver = Driver()
    for piece in pieces or [raw]:
        driver.feed(piece)
    answered = 0
    while True:
        pending = [up for up in driver.upstreams if not up.closed and len(read_requests(bytes(up.received))) > 0]
        total = sum(len(read_requests(bytes(up.received))) for up in driver.upstreams)
        if total == answered or not pending:
            break
        answered = total
        pending[-1].send(ANSWER)
    requests = [message for up in driver.upstreams for message in read_requests(bytes(up.received))]
    return driver, requests


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_http1_request_is_refused_or_unambiguous(case: Case) -> None:
    _, raw, expected = case
    driver, requests = exchange(raw)
    bodies, reason = expectation(expected)
    assert [message.body for message in requests] == bodies
    assert driver.observer.reasons == ([reason] if reason else [])
    if reason:
        assert driver.closed
    for message in requests:
        check_no_leak(message)
    answers = read_responses(bytes(driver.sent), [m.start.split(b" ")[0] for m in requests], closed=driver.closed)
    assert all(b"mitmproxy" not in value for answer in answers for _, value in answer.fields)


def expectation(expected: Expected) -> tuple[list[bytes], Reason | None]:
    if isinstance(expected, Reason):
        return [], expected
    return expected if isinstance(expected, tuple) else (expected, None)


def check_no_leak(message: Message) -> None:
    assert not message.names & LEAKS
    options = {value.strip().lower() for line in message.get(b"connection") for value in line.split(b",")}
    assert options <= {b"te"}
    assert not any(name.lower() in (b"host", b"content-length", b"transfer-encoding") for name, _ in message.trailers)
    if b"te" in message.names:
        assert message.get(b"te") == [b"trailers"]


def test_corpus_is_as_large_as_promised() -> None:
    assert len(CASES) >= 180
    assert len({name for name, _, _ in CASES}) == len(CASES)
