"""The server's end, byte for byte."""

import pytest

from icap.protocol import (
    ConnectionClosed,
    Continue,
    Data,
    EndOfMessage,
    Headers,
    LimitExceeded,
    Limits,
    LocalProtocolError,
    PreviewEnd,
    RemoteProtocolError,
    Request,
    Response,
    ServerConnection,
    TruncatedMessage,
)

REQ = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
RES = b"HTTP/1.1 200 OK\r\n\r\n"
URI = b"icap://h:1344/s?a=b"


def request(extra: bytes = b"", body: bytes = b"null-body") -> bytes:
    offset = b"%d" % len(REQ)
    return b"REQMOD %b ICAP/1.0\r\nHost: h\r\n%bEncapsulated: req-hdr=0, %b=%b\r\n\r\n%b" % (URI, extra, body, offset, REQ)


PREVIEWED = request(b"Preview: 4\r\n", b"req-body")


def test_a_request_without_body() -> None:
    events = ServerConnection().receive_data(request(b"Allow: 204\r\n"))
    assert isinstance(events[0], Request)
    assert (events[0].method, events[0].uri, events[0].request_head) == ("REQMOD", URI.decode(), REQ)
    assert (events[0].body, events[0].preview, events[0].allow) == (False, None, {"204"})
    assert len(events) == 1


def test_icp_10_preview_then_continue() -> None:
    """ICAP-S05, ICAP-S06"""
    server = ServerConnection()
    events = server.receive_data(PREVIEWED + b"4\r\nabcd\r\n0\r\n\r\n")
    assert events[1:] == [Data(b"abcd"), PreviewEnd()]
    assert server.paused
    assert server.send(Continue()) == b"ICAP/1.0 100 Continue\r\n\r\n"
    assert server.receive_data(b"1\r\ne\r\n0\r\n\r\n") == [Data(b"e"), EndOfMessage()]
    # RFC 3507 section 4.6: 204 answers the preview, not the body after 100 Continue
    assert not server.may_send_204
    with pytest.raises(LocalProtocolError):
        server.send(Response(204))


def test_icp_10_preview_0_keeps_the_body_waiting() -> None:
    server = ServerConnection()
    events = server.receive_data(request(b"Preview: 0\r\n", b"req-body") + b"0\r\n\r\n")
    assert events[1:] == [PreviewEnd()]
    assert server.send(Response(204)) == b"ICAP/1.0 204 No Content\r\nEncapsulated: null-body=0\r\n\r\n"
    assert server.complete


def test_icp_10_ieof_ends_the_message_and_forbids_continue() -> None:
    """ICAP-S05"""
    server = ServerConnection()
    events = server.receive_data(PREVIEWED + b"3\r\nabc\r\n0; ieof\r\n\r\n")
    assert events[1:] == [Data(b"abc"), EndOfMessage(ieof=True)]
    with pytest.raises(LocalProtocolError):
        server.send(Continue())
    assert server.may_send_204


def test_icp_10_preview_with_null_body_needs_no_chunk() -> None:
    """ICAP-C07"""
    server = ServerConnection()
    assert len(server.receive_data(request(b"Preview: 0\r\n"))) == 1
    assert server.may_send_204
    server.send(Response(204))
    assert server.complete


def test_more_than_the_preview_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="preview"):
        ServerConnection().receive_data(PREVIEWED + b"5\r\nabcde\r\n")


def test_an_answer_with_head_and_body_byte_for_byte() -> None:
    server = ServerConnection()
    server.receive_data(request())
    sent = server.send(Response(200, Headers.of(("ISTag", '"t"')), response_head=RES, body=True))
    sent += server.send(Data(b"page")) + server.send(Data(b"")) + server.send(EndOfMessage())
    assert (
        sent
        == b'ICAP/1.0 200 OK\r\nISTag: "t"\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n' + RES + b"4\r\npage\r\n0\r\n\r\n"
    )
    assert server.complete
    assert not server.must_close


def test_options_with_a_body_stays_in_step() -> None:
    """ICAP-S04"""
    server = ServerConnection()
    wire = b"OPTIONS icap://h/s ICAP/1.0\r\nHost: h\r\nEncapsulated: opt-body=0\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert server.receive_data(wire)[1:] == [Data(b"abc"), EndOfMessage()]
    server.send(Response(200))
    assert server.receive_data(b"OPTIONS icap://h/s ICAP/1.0\r\nHost: h\r\n\r\n") == []
    assert len(server.next_events()) == 1


def test_pipelined_requests_wait_for_their_turn() -> None:
    """ICAP-S17"""
    server = ServerConnection()
    assert len(server.receive_data(request(b"Allow: 204\r\n") * 3)) == 1
    for left in (1, 1, 0):
        server.send(Response(204))
        assert len(server.next_events()) == left
    assert server.idle


def test_early_answer_while_the_body_still_comes() -> None:
    server = ServerConnection()
    server.receive_data(request(body=b"req-body") + b"2\r\nab\r\n")
    server.send(Response(200, response_head=RES))
    assert not server.complete
    assert server.receive_data(b"2\r\ncd\r\n0\r\n\r\n") == [Data(b"cd"), EndOfMessage()]
    assert server.complete


def test_an_answer_during_the_preview_ends_the_request_with_the_preview() -> None:
    server = ServerConnection()
    server.receive_data(PREVIEWED + b"2\r\nab\r\n")
    server.send(Response(200, response_head=RES))
    assert server.receive_data(b"2\r\ncd\r\n0\r\n\r\n") == [Data(b"cd"), PreviewEnd()]
    assert server.complete


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"REQMOD icap://h/s HTTP/1.1\r\n\r\n", 400),
        (b"REQMOD icap://h/s ICAP/2.0\r\n\r\n", 505),
        (b"BREW icap://h/s ICAP/1.0\r\n\r\n", 501),
        (b"REQMOD  icap://h/s ICAP/1.0\r\n\r\n", 400),
        (b"REQMOD icap://h/s ICAP/1.0\r\nHost: h\r\n\r\n", 400),
        (request(b"Preview: abc\r\n"), 400),
        (request(b"Preview: -5\r\n"), 400),
        (request(b"Preview: 1\r\nPreview: 2\r\n"), 400),
        (request(b"Encapsulated: req-hdr=0, null-body=27\r\n"), 400),
        (request(b"broken line\r\n"), 400),
        (request(body=b"res-body"), 400),
        (request(body=b"req-body") + b"zz\r\n", 400),
        (request().replace(b"=27", b"=26") + b"X", 400),
        (request().replace(b"=27", b"=28") + b"X", 400),
        (request().replace(b"Host: h\r\n\r\n", b"Host: h\r\nX\r\n"), 400),
    ],
)
def test_errors_carry_the_status_to_answer_with(wire: bytes, status: int) -> None:
    """ICAP-S13, ICAP-S15, ICAP-S22"""
    server = ServerConnection()
    with pytest.raises(RemoteProtocolError) as caught:
        server.receive_data(wire)
    assert caught.value.status == status
    assert server.must_close
    assert b"Connection: close\r\n" in server.send(Response(status))


def test_sections_may_not_hold_a_second_empty_line() -> None:
    """ICAP-S15"""
    # A reader that searches sees the request end at the first empty line, a reader that counts at the second.
    smuggled = b"GET / HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"
    wire = b"REQMOD icap://h/s ICAP/1.0\r\nEncapsulated: req-hdr=0, null-body=%d\r\n\r\n%b" % (len(smuggled), smuggled)
    with pytest.raises(RemoteProtocolError, match="one header section"):
        ServerConnection().receive_data(wire)


def test_limits_at_the_limit() -> None:
    """ICAP-S19"""
    wire = request()
    size = wire.index(b"\r\n\r\n") + 4
    exact = Limits(header_bytes=size, section_bytes=len(REQ), start_line=wire.index(b"\r\n"), header_count=2)
    assert len(ServerConnection(exact).receive_data(wire)) == 1
    tight = [
        Limits(header_bytes=size - 1),
        Limits(section_bytes=len(REQ) - 1),
        Limits(start_line=wire.index(b"\r\n") - 1),
        Limits(header_count=1),
    ]
    for limits in tight:
        with pytest.raises(LimitExceeded):
            ServerConnection(limits).receive_data(wire)


def test_a_head_that_never_ends_is_refused() -> None:
    server = ServerConnection(Limits(header_bytes=1000))
    with pytest.raises(LimitExceeded):
        for _ in range(1001):
            server.receive_data(b"x")


def test_pending_bytes_are_bounded() -> None:
    server = ServerConnection(Limits(pending_bytes=10))
    server.receive_data(request())
    server.receive_data(b"x" * 10)
    with pytest.raises(LimitExceeded):
        server.receive_data(b"x")


def test_blank_lines_before_a_request() -> None:
    assert len(ServerConnection(Limits(blank_lines=2)).receive_data(b"\r\n\r\n" + request())) == 1
    with pytest.raises(LimitExceeded):
        ServerConnection(Limits(blank_lines=2)).receive_data(b"\r\n\r\n\r\n" + request())


def test_end_of_input() -> None:
    """ICAP-S18"""
    server = ServerConnection()
    assert server.receive_data(b"") == [ConnectionClosed()]
    for part in (b"REQMOD", request()[:-3], PREVIEWED + b"2\r\na", request(body=b"req-body") + b"1\r\na\r\n"):
        server = ServerConnection()
        server.receive_data(part)
        with pytest.raises(TruncatedMessage):
            server.receive_data(b"")


def test_close_is_honoured() -> None:
    """ICAP-S16"""
    server = ServerConnection()
    server.receive_data(request(b"Connection: Close\r\nAllow: 204\r\n"))
    assert b"Connection: close\r\n" in server.send(Response(204))
    assert server.must_close
    with pytest.raises(LocalProtocolError):
        server.next_events()


def test_sends_that_the_state_forbids() -> None:
    server = ServerConnection()
    server.receive_data(request())
    for event in (Continue(), Data(b"x"), EndOfMessage(), Response(204), Response(206, response_head=RES)):
        with pytest.raises(LocalProtocolError):
            server.send(event)
    with pytest.raises(LocalProtocolError):
        server.send(Response(200, Headers.of(("Encapsulated", "null-body=0"))))
    server = ServerConnection()
    server.receive_data(request())
    server.send(Response(200, response_head=RES))
    with pytest.raises(LocalProtocolError):
        server.send(Response(200, response_head=RES))


def test_use_original_body_is_written_when_allowed() -> None:
    server = ServerConnection()
    server.receive_data(request(b"Allow: 204, 206\r\n"))
    sent = server.send(Response(206, response_head=RES, body=True)) + server.send(EndOfMessage(use_original_body=7))
    assert sent.endswith(RES + b"0; use-original-body=7\r\n\r\n")
