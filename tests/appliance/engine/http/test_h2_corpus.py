"""HTTP/2 requests on their way to an HTTP/1 upstream: refused on their stream, or one plain message."""

import pytest

from appliance.domain.reason import Reason
from tests.appliance.engine.http.h2_peer import Fields, Peer, data, decode, preface
from tests.appliance.engine.http.reference import read_requests
from tests.engine_driver import Driver

pytestmark = pytest.mark.security

BAD, AMBIGUOUS = Reason.BAD_REQUEST, Reason.AMBIGUOUS_MESSAGE
BASE: Fields = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"example.com")]

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"

type Body = bytes | None
"""None: the request ends with its fields."""
type Case = tuple[str, Fields, Body, Reason | bytes]


def with_(*fields: tuple[bytes, bytes]) -> Fields:
    return [*BASE, *fields]


def pseudo(name: bytes, value: bytes | None) -> Fields:
    return [(key, value if key == name else old) for key, old in BASE if not (key == name and value is None)]  # type: ignore[misc]


CASES: list[Case] = [
    ("plain", BASE, None, b""),
    ("body without length", BASE, b"abc", b"abc"),
    ("body that looks like a request", BASE, HIDDEN, HIDDEN),
    ("empty body without length", BASE, b"", b""),
    ("body with length", with_((b"content-length", b"3")), b"abc", b"abc"),
    ("length 0", with_((b"content-length", b"0")), None, b""),
    ("get with body", [(b":method", b"GET"), *BASE[1:]], b"abc", b"abc"),
    ("te trailers", with_((b"te", b"trailers")), None, b""),
    ("cookies are joined", with_((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")), None, b""),
    ("host equals authority", with_((b"host", b"example.com")), None, b""),
    ("host with default port", with_((b"host", b"example.com:443")), None, b""),
    ("host without authority", [*BASE[:3], (b"host", b"example.com")], None, b""),
    ("authority with port", pseudo(b":authority", b"example.com:443"), None, b""),
    ("options asterisk", [(b":method", b"OPTIONS"), BASE[1], (b":path", b"*"), BASE[3]], None, b""),
    ("obs-text value", with_((b"x", b"\xe4")), None, b""),
    ("empty value", with_((b"x", b"")), None, b""),
    ("proxy-authorization", with_((b"proxy-authorization", b"Basic YTpi")), None, b""),
    ("CRLF in value", with_((b"x", b"a\r\nHost: evil")), None, BAD),
    ("LF in value", with_((b"x", b"a\nb")), None, BAD),
    ("CR in value", with_((b"x", b"a\rb")), None, BAD),
    ("NUL in value", with_((b"x", b"a\0b")), None, BAD),
    ("space before value", with_((b"x", b" a")), None, BAD),
    ("space after value", with_((b"x", b"a ")), None, BAD),
    ("tab after value", with_((b"x", b"a\t")), None, BAD),
    ("CRLF in name", with_((b"x\r\ny", b"a")), None, BAD),
    ("colon in name", with_((b"x: y", b"a")), None, BAD),
    ("colon at the end of a name", with_((b"transfer-encoding:", b"chunked")), None, BAD),
    ("space in name", with_((b"x y", b"a")), None, BAD),
    ("NUL in name", with_((b"x\0", b"a")), None, BAD),
    ("capitals in name", with_((b"X-A", b"a")), None, BAD),
    ("empty name", with_((b"", b"a")), None, BAD),
    ("octet 0x80 in name", with_((b"x\x80", b"a")), None, BAD),
    ("CRLF in method", [(b":method", b"GET / HTTP/1.1\r\nX: y\r\n\r\nGET"), *BASE[1:]], None, BAD),
    ("space in method", [(b":method", b"GET /x"), *BASE[1:]], None, BAD),
    ("empty method", [(b":method", b""), *BASE[1:]], None, BAD),
    ("method in lower case", [(b":method", b"get"), *BASE[1:]], None, AMBIGUOUS),
    ("no method", BASE[1:], None, BAD),
    ("connect", [(b":method", b"CONNECT"), BASE[3]], None, BAD),
    ("connect with path", [(b":method", b"CONNECT"), *BASE[1:]], None, BAD),
    ("extended connect", [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *BASE[1:]], None, BAD),
    ("CRLF in path", pseudo(b":path", b"/ HTTP/1.1\r\nX: y"), None, BAD),
    ("space in path", pseudo(b":path", b"/a b"), None, BAD),
    ("tab in path", pseudo(b":path", b"/a\tb"), None, BAD),
    ("NUL in path", pseudo(b":path", b"/\0"), None, BAD),
    ("fragment in path", pseudo(b":path", b"/a#b"), None, BAD),
    ("octet 0x80 in path", pseudo(b":path", b"/\xe4"), None, BAD),
    ("empty path", pseudo(b":path", b""), None, BAD),
    ("no path", pseudo(b":path", None), None, BAD),
    ("path without slash", pseudo(b":path", b"evil"), None, BAD),
    ("absolute path", pseudo(b":path", b"http://evil.example/"), None, BAD),
    ("asterisk with post", pseudo(b":path", b"*"), None, BAD),
    ("path twice", with_((b":path", b"/evil")), None, BAD),
    ("path after a field", [*BASE[:2], BASE[3], (b"x", b"y"), (b":path", b"/")], None, BAD),
    ("unknown pseudo", [*BASE, (b":evil", b"x")], None, BAD),
    ("status in request", [*BASE, (b":status", b"200")], None, BAD),
    ("no scheme", pseudo(b":scheme", None), None, AMBIGUOUS),
    ("scheme http in tls", pseudo(b":scheme", b"http"), None, AMBIGUOUS),
    ("scheme with CRLF", pseudo(b":scheme", b"https\r\n"), None, AMBIGUOUS),
    ("scheme as url", pseudo(b":scheme", b"http://evil.example/?"), None, AMBIGUOUS),
    ("no authority, no host", pseudo(b":authority", None), None, AMBIGUOUS),
    ("empty authority", pseudo(b":authority", b""), None, BAD),
    ("authority with userinfo", pseudo(b":authority", b"a@example.com"), None, BAD),
    ("authority with path", pseudo(b":authority", b"example.com/x"), None, BAD),
    ("authority with CRLF", pseudo(b":authority", b"example.com\r\nX: y"), None, BAD),
    ("authority with space", pseudo(b":authority", b"example.com x"), None, BAD),
    ("authority as a number", pseudo(b":authority", b"2130706433"), None, BAD),
    ("host differs", with_((b"host", b"evil.example")), None, AMBIGUOUS),
    ("host differs in port", with_((b"host", b"example.com:8443")), None, AMBIGUOUS),
    ("host twice", with_((b"host", b"example.com"), (b"host", b"example.com")), None, AMBIGUOUS),
    ("connection", with_((b"connection", b"close")), None, AMBIGUOUS),
    ("connection names a field", with_((b"connection", b"x"), (b"x", b"y")), None, AMBIGUOUS),
    ("keep-alive", with_((b"keep-alive", b"5")), None, AMBIGUOUS),
    ("proxy-connection", with_((b"proxy-connection", b"keep-alive")), None, AMBIGUOUS),
    ("transfer-encoding", with_((b"transfer-encoding", b"chunked")), b"0\r\n\r\n", AMBIGUOUS),
    ("upgrade", with_((b"upgrade", b"websocket")), None, AMBIGUOUS),
    ("underscore for the dash", with_((b"transfer_encoding", b"chunked")), None, AMBIGUOUS),
    ("expect something else", with_((b"expect", b"200-ok")), b"abc", BAD),
    ("te gzip", with_((b"te", b"gzip")), None, AMBIGUOUS),
    ("te trailers, gzip", with_((b"te", b"trailers, gzip")), None, AMBIGUOUS),
    ("length twice", with_((b"content-length", b"3"), (b"content-length", b"3")), b"abc", AMBIGUOUS),
    ("length with plus", with_((b"content-length", b"+3")), b"abc", AMBIGUOUS),
    ("length with leading zero", with_((b"content-length", b"03")), b"abc", AMBIGUOUS),
    ("length without body", with_((b"content-length", b"3")), None, AMBIGUOUS),
    ("length over the body", with_((b"content-length", b"4")), b"abc", AMBIGUOUS),
    ("length under the body", with_((b"content-length", b"2")), b"abc", AMBIGUOUS),
    ("length not a number", with_((b"content-length", b"x")), b"abc", BAD),
]


def exchange(fields: Fields, body: Body) -> Driver:
    driver = Driver(client_h2=True, tls=True)
    driver.feed(preface())
    driver.feed(Peer().headers(1, fields, end=body is None))
    if body is not None and not driver.closed:
        driver.feed(data(1, body))
    return driver


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_http2_request_to_http1_is_refused_or_unambiguous(case: Case) -> None:
    _, fields, body, expected = case
    driver = exchange(fields, body)
    requests = [message for up in driver.upstreams for message in read_requests(bytes(up.received))]
    if isinstance(expected, Reason):
        assert driver.observer.reasons == [expected]
        assert requests == []
        answer = decode(bytes(driver.sent))
        assert answer.goaway is not None or 1 in answer.resets or 1 in answer.ended
        return
    assert driver.observer.violations == []
    assert [message.body for message in requests] == [expected]
    names = requests[0].names
    assert not names & {b"proxy-authorization", b"keep-alive", b"upgrade", b":authority"}
    assert len(requests[0].get(b"cookie")) <= 1


def test_cookies_of_several_fields_become_one() -> None:
    driver = exchange(with_((b"cookie", b"a=1"), (b"cookie", b"b=2")), None)
    assert read_requests(bytes(driver.upstreams[0].received))[0].get(b"cookie") == [b"a=1; b=2"]


def test_length_mismatch_that_ends_with_trailers_is_refused() -> None:
    driver = Driver(client_h2=True, tls=True)
    peer = Peer()
    driver.feed(preface() + peer.headers(1, with_((b"content-length", b"4")), end=False) + data(1, b"abc", end=False))
    driver.feed(peer.headers(1, [(b"x-sum", b"1")]))
    assert driver.observer.reasons == [AMBIGUOUS]
    assert driver.upstreams[0].received == b""
    assert 1 in decode(bytes(driver.sent)).resets


def test_corpus_is_as_large_as_promised() -> None:
    assert len(CASES) >= 57
    assert len({case[0] for case in CASES}) == len(CASES)
