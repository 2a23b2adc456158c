"""HTTP/1 responses to one request: the reason of the refusal (the client gets 502), or the body that the client gets."""

from appliance.domain.reason import Reason

PROTOCOL, AMBIGUOUS, CLOSED = Reason.UPSTREAM_PROTOCOL, Reason.UPSTREAM_AMBIGUOUS, Reason.UPSTREAM_CLOSED
type Case = tuple[str, bytes, Reason | bytes]
"""``GET`` is what was asked; the upstream closes after what it sent."""

OK = b"HTTP/1.1 200 OK\r\n"


def response(fields: bytes, body: bytes = b"", line: bytes = OK) -> bytes:
    return line + fields + b"\r\n" + body


def te(value: bytes, body: bytes = b"3\r\nabc\r\n0\r\n\r\n") -> bytes:
    return response(b"Transfer-Encoding: " + value + b"\r\n", body)


def length(value: bytes, body: bytes = b"abc") -> bytes:
    return response(b"Content-Length: " + value + b"\r\n", body)


def status(line: bytes, fields: bytes = b"Content-Length: 3\r\n", body: bytes = b"abc") -> bytes:
    return response(fields, body, line + b"\r\n")


CASES: list[Case] = [
    ("fixed length", length(b"3"), b"abc"),
    ("length 0", length(b"0", b""), b""),
    ("chunked", te(b"chunked"), b"abc"),
    ("chunked with trailers", te(b"chunked", b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"), b"abc"),
    ("chunked with extensions", te(b"chunked", b"3;a=b\r\nabc\r\n0;c\r\n\r\n"), b"abc"),
    ("until close", response(b"", b"abc"), b"abc"),
    ("until close, http/1.0", response(b"", b"abc", b"HTTP/1.0 200 OK\r\n"), b"abc"),
    ("no phrase", status(b"HTTP/1.1 200 "), b"abc"),
    ("no phrase, no space", status(b"HTTP/1.1 200"), b"abc"),
    ("phrase with obs-text", status(b"HTTP/1.1 200 \xe4"), b"abc"),
    ("status 999", status(b"HTTP/1.1 999 Denied"), b"abc"),
    ("status 599", status(b"HTTP/1.1 599 x"), b"abc"),
    ("404", status(b"HTTP/1.1 404 Not Found"), b"abc"),
    ("204", status(b"HTTP/1.1 204 No Content", b"", b""), b""),
    ("204 with length 0", status(b"HTTP/1.1 204 No Content", b"Content-Length: 0\r\n", b""), b""),
    ("204 with length", status(b"HTTP/1.1 204 No Content", b"Content-Length: 3\r\n", b""), b""),
    ("204 with chunked", status(b"HTTP/1.1 204 No Content", b"Transfer-Encoding: chunked\r\n", b""), b""),
    ("304 with length", status(b"HTTP/1.1 304 Not Modified", b"Content-Length: 3\r\n", b""), b""),
    ("length twice, same", response(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"), b"abc"),
    ("one informational", b"HTTP/1.1 100 Continue\r\n\r\n" + length(b"3"), b"abc"),
    ("early hints", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + length(b"3"), b"abc"),
    ("informational with length", b"HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\n" + length(b"3"), b"abc"),
    ("sixteen informational", b"HTTP/1.1 102 Processing\r\n\r\n" * 16 + length(b"3"), b"abc"),
    ("connection names a field", response(b"Connection: x-secret\r\nX-Secret: 1\r\nContent-Length: 3\r\n", b"abc"), b"abc"),
    ("keep-alive", response(b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 3\r\n", b"abc"), b"abc"),
    ("proxy-connection", response(b"Proxy-Connection: close\r\nContent-Length: 3\r\n", b"abc"), b"abc"),
    ("upgrade offer", response(b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 3\r\n", b"abc"), b"abc"),
    ("proxy-authenticate", response(b"Proxy-Authenticate: Basic realm=x\r\nContent-Length: 3\r\n", b"abc"), b"abc"),
    ("seventeen informational", b"HTTP/1.1 102 Processing\r\n\r\n" * 17 + length(b"3"), PROTOCOL),
    ("switching protocols unasked", b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", PROTOCOL),
    ("two lengths", response(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd"), AMBIGUOUS),
    ("length list", length(b"3, 3"), AMBIGUOUS),
    ("length list, differing", length(b"3, 4"), AMBIGUOUS),
    ("length with plus", length(b"+3"), AMBIGUOUS),
    ("length negative", length(b"-3"), AMBIGUOUS),
    ("length hexadecimal", length(b"0x3"), AMBIGUOUS),
    ("length with leading zero", length(b"03"), AMBIGUOUS),
    ("length empty", length(b""), AMBIGUOUS),
    ("length over 2**64", length(b"18446744073709551619"), AMBIGUOUS),
    ("length and coding", te(b"chunked\r\nContent-Length: 3"), AMBIGUOUS),
    ("coding in http/1.0", response(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"HTTP/1.0 200 OK\r\n"), AMBIGUOUS),
    ("xchunked", te(b"xchunked"), AMBIGUOUS),
    ("gzip, chunked", te(b"gzip, chunked"), AMBIGUOUS),
    ("chunked, identity", te(b"chunked, identity"), AMBIGUOUS),
    ("identity", te(b"identity"), AMBIGUOUS),
    ("underscore for the dash", te(b"chunked\r\nContent_Length: 3"), AMBIGUOUS),
    ("coding twice", te(b"chunked\r\nTransfer-Encoding: chunked"), AMBIGUOUS),
    ("connection names length", response(b"Connection: content-length\r\nContent-Length: 3\r\n", b"abc"), AMBIGUOUS),
    ("bare LF head", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", PROTOCOL),
    ("bare LF after field", response(b"X-A: b\nContent-Length: 3\r\n", b"abc"), PROTOCOL),
    ("bare CR in value", response(b"X-A: b\rX-B: c\r\nContent-Length: 3\r\n", b"abc"), PROTOCOL),
    ("NUL in value", response(b"X-A: \0\r\nContent-Length: 3\r\n", b"abc"), PROTOCOL),
    ("folded field", response(b"X-A: b\r\n c\r\nContent-Length: 3\r\n", b"abc"), PROTOCOL),
    ("space before colon", response(b"Content-Length : 3\r\n", b"abc"), PROTOCOL),
    ("no colon", response(b"ContentLength\r\n", b"abc"), PROTOCOL),
    ("empty name", response(b": x\r\nContent-Length: 3\r\n", b"abc"), PROTOCOL),
    ("space in name", response(b"X A: x\r\nContent-Length: 3\r\n", b"abc"), PROTOCOL),
    ("http/0.9 body", b"<html>hello</html>\r\n\r\n", PROTOCOL),
    ("http/2 line", status(b"HTTP/2 200 OK"), PROTOCOL),
    ("http/1.2 line", status(b"HTTP/1.2 200 OK"), PROTOCOL),
    ("icy line", status(b"ICY 200 OK"), PROTOCOL),
    ("status of two digits", status(b"HTTP/1.1 20 OK"), PROTOCOL),
    ("status of four digits", status(b"HTTP/1.1 2000 OK"), PROTOCOL),
    ("status with sign", status(b"HTTP/1.1 +20 OK"), PROTOCOL),
    ("status 000", status(b"HTTP/1.1 000 OK"), PROTOCOL),
    ("two spaces before status", status(b"HTTP/1.1  200 OK"), PROTOCOL),
    ("leading space", b" " + length(b"3"), PROTOCOL),
    ("leading empty line", b"\r\n" + length(b"3"), PROTOCOL),
    ("escape in phrase", status(b"HTTP/1.1 200 \x1b"), PROTOCOL),
    ("chunk size with plus", te(b"chunked", b"+3\r\nabc\r\n0\r\n\r\n"), PROTOCOL),
    ("chunk size with 0x", te(b"chunked", b"0x3\r\nabc\r\n0\r\n\r\n"), PROTOCOL),
    ("chunk size over 2**64", te(b"chunked", b"10000000000000003\r\nabc\r\n0\r\n\r\n"), PROTOCOL),
    ("chunk without CRLF", te(b"chunked", b"3\r\nabc0\r\n\r\n"), PROTOCOL),
    ("chunk size then LF", te(b"chunked", b"3\nabc\r\n0\r\n\r\n"), PROTOCOL),
    ("trailer without colon", te(b"chunked", b"0\r\nHTTP/1.1 200 OK\r\n\r\n"), PROTOCOL),
    ("empty", b"", CLOSED),
    ("half a head", b"HTTP/1.1 200 OK\r\nContent-", CLOSED),
    ("short body", length(b"4"), CLOSED),
    ("chunked, cut in a chunk", te(b"chunked", b"5\r\nabc"), CLOSED),
    ("chunked, cut before the last chunk", te(b"chunked", b"3\r\nabc\r\n"), CLOSED),
    ("chunked, cut in the trailers", te(b"chunked", b"3\r\nabc\r\n0\r\nX-"), CLOSED),
]

EXTRA: list[Case] = [
    ("more body than length", length(b"3", b"abcd"), b"abc"),
    ("a second response", length(b"3") + OK + b"Content-Length: 4\r\n\r\nevil", b"abc"),
    ("204 with body", status(b"HTTP/1.1 204 No Content", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), b""),
    ("304 with body", status(b"HTTP/1.1 304 Not Modified", b"Content-Length: 3\r\n", b"abc"), b""),
    ("204 with last chunk", status(b"HTTP/1.1 204 No Content", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"), b""),
    ("octets after the last chunk", te(b"chunked", b"3\r\nabc\r\n0\r\n\r\nx"), b"abc"),
]
"""Whole responses with octets after them: delivered, and the connection is not used again."""
