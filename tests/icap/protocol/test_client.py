"""The client's end, byte for byte."""

import pytest

from icap.protocol import (
    ClientConnection,
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
    TruncatedMessage,
)

REQ = b"GET /caf\xe9 HTTP/1.1\r\nHost: h\r\n\r\n"
RES = b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n"
URI = "icap://h:1344/s?a=b"
NO_CONTENT = b"ICAP/1.0 204 Unmodified\r\nServer: C-ICAP\r\nISTag: CI0001\r\n\r\n"


def client(
    method: str = "RESPMOD", *, preview: int | None = None, limits: Limits | None = None, allow: str = "204, 206"
) -> ClientConnection:
    connection = ClientConnection(limits or Limits())
    head = RES if method == "RESPMOD" else None
    body = preview is not None
    headers = Headers.of(("Host", "h:1344"), ("Allow", allow))
    connection.send(Request(method, URI, headers, REQ, head, body=body, preview=preview))
    return connection


def test_icp_08_request_byte_for_byte() -> None:
    """ICAP-C01, ICAP-C02, ICAP-C04"""
    connection = ClientConnection()
    headers = Headers.of(("Host", "h:1344"), ("Allow", "204"))
    sent = connection.send(Request("RESPMOD", URI, headers, REQ, RES, body=True, preview=4))
    sent += connection.send(Data(b"abcd")) + connection.send(PreviewEnd())
    assert (
        sent
        == (
            b"RESPMOD icap://h:1344/s?a=b ICAP/1.0\r\nHost: h:1344\r\nAllow: 204\r\nPreview: 4\r\n"
            b"Encapsulated: req-hdr=0, res-hdr=%d, res-body=%d\r\n\r\n" % (len(REQ), len(REQ + RES))
        )
        + REQ
        + RES
        + b"4\r\nabcd\r\n0\r\n\r\n"
    )
    assert connection.receive_data(b"ICAP/1.0 100 Continue\r\n\r\n") == [Continue()]
    assert connection.send(Data(b"e")) + connection.send(EndOfMessage()) == b"1\r\ne\r\n0\r\n\r\n"


def test_options_byte_for_byte() -> None:
    sent = ClientConnection().send(Request("OPTIONS", URI, Headers.of(("Host", "h:1344"))))
    assert sent == b"OPTIONS icap://h:1344/s?a=b ICAP/1.0\r\nHost: h:1344\r\nEncapsulated: null-body=0\r\n\r\n"


def test_icp_04_204_without_encapsulated_leaves_the_connection_usable() -> None:
    """ICAP-C10, ICAP-C34"""
    connection = client()
    events = connection.receive_data(NO_CONTENT)
    assert isinstance(events[0], Response)
    assert (events[0].status, events[0].encapsulated, events[1]) == (204, False, EndOfMessage())
    assert connection.reusable
    connection.next_cycle()
    assert connection.send(Request("OPTIONS", URI)).startswith(b"OPTIONS")


def test_icp_03_modified_response() -> None:
    connection = client()
    wire = b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(RES) + RES + b"2\r\nhi\r\n0\r\n\r\n"
    events = connection.receive_data(wire)
    assert isinstance(events[0], Response)
    assert (events[0].response_head, events[0].body, events[1:]) == (RES, True, [Data(b"hi"), EndOfMessage()])


def test_partial_content() -> None:
    """ICAP-C28"""
    connection = client()
    wire = b"ICAP/1.0 206 Partial Content\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(RES) + RES
    assert connection.receive_data(wire + b"0; use-original-body=6\r\n\r\n")[-1] == EndOfMessage(use_original_body=6)


def test_icp_10_answer_instead_of_continue_ends_the_request() -> None:
    """ICAP-C24"""
    connection = client(preview=4)
    connection.send(Data(b"abcd"))
    connection.send(PreviewEnd())
    with pytest.raises(LocalProtocolError):
        connection.send(Data(b"more"))
    connection.receive_data(NO_CONTENT)
    assert connection.reusable


def test_icp_10_continue_after_ieof_is_passed_over_once() -> None:
    """ICAP-C24"""
    connection = client(preview=4)
    connection.send(Data(b"ab"))
    connection.send(EndOfMessage(ieof=True))
    events = connection.receive_data(b"ICAP/1.0 100 Continue\r\n\r\n" + NO_CONTENT)
    assert isinstance(events[0], Response)
    assert connection.reusable


def test_icp_11_early_answer_with_an_unsent_body_is_not_reusable() -> None:
    """ICAP-C29, ICAP-C34"""
    connection = client(preview=4)
    connection.send(Data(b"ab"))
    connection.receive_data(NO_CONTENT)
    assert not connection.reusable
    with pytest.raises(LocalProtocolError):
        connection.next_cycle()


@pytest.mark.parametrize("extra", [b"Connection: close\r\n", b"connection: Keep-Alive, CLOSE\r\n"])
def test_icp_11_close_is_honoured(extra: bytes) -> None:
    """ICAP-C34"""
    connection = client()
    connection.receive_data(b"ICAP/1.0 204 No\r\n%b\r\n" % extra)
    assert not connection.reusable


def test_icp_11_an_error_that_announces_no_body_is_not_reusable() -> None:
    connection = client()
    connection.receive_data(b"ICAP/1.0 500 Server error\r\n\r\n")
    assert not connection.reusable


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"ICAP/1.0 20 OK\r\n\r\n",
        b"ICAP/1.0 200 OK\r\n\r\n",
        b"ICAP/1.0 206 OK\r\n\r\n",
        b"ICAP/1.0 100 Continue\r\n\r\n",
        b"ICAP/1.0 102 Processing\r\n\r\n",
        b"ICAP/1.0 204 No\r\nEncapsulated: res-hdr=0, null-body=25\r\n\r\n" + RES,
        b"ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, null-body=25\r\n\r\n" + RES,
        b"ICAP/1.0 200 OK\r\nEncapsulated: null-body=0\r\nEncapsulated: null-body=0\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=24\r\n\r\n" + RES,
        b"ICAP/1.0 200 OK\r\nno field\r\n\r\n",
        NO_CONTENT[:-4] + b"\nX: y\r\n\r\n",
    ],
)
def test_icp_05_answers_that_are_no_icap(wire: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        client().receive_data(wire)


def test_bytes_nobody_asked_for() -> None:
    connection = client()
    connection.receive_data(NO_CONTENT)
    with pytest.raises(RemoteProtocolError):
        connection.receive_data(b"ICAP/1.0 200 OK\r\n")
    connection = client()
    connection.receive_data(NO_CONTENT + b"x")
    assert not connection.reusable


def test_end_of_input() -> None:
    connection = client()
    with pytest.raises(TruncatedMessage, match="without an answer"):
        connection.receive_data(b"")
    connection = client()
    connection.receive_data(NO_CONTENT[:-1])
    with pytest.raises(TruncatedMessage, match="inside its answer"):
        connection.receive_data(b"")
    connection = client()
    connection.receive_data(NO_CONTENT)
    assert connection.receive_data(b"") == [ConnectionClosed()]
    assert not connection.reusable


def test_limits_at_the_limit() -> None:
    """ICAP-C11"""
    exact = Limits(header_bytes=len(NO_CONTENT), header_line=15, header_count=2, start_line=23)
    assert len(client(limits=exact).receive_data(NO_CONTENT)) == 2
    tight = (
        Limits(header_bytes=len(NO_CONTENT) - 1),
        Limits(header_line=13),
        Limits(header_count=1),
        Limits(start_line=22),
    )
    for limits in tight:
        with pytest.raises(LimitExceeded):
            client(limits=limits).receive_data(NO_CONTENT)


def test_sends_that_the_state_forbids() -> None:
    connection = ClientConnection()
    for event in (Data(b"x"), PreviewEnd(), EndOfMessage()):
        with pytest.raises(LocalProtocolError):
            connection.send(event)
    for request in (
        Request("BREW", URI),
        Request("REQMOD", URI, response_head=RES),
        Request("OPTIONS", URI, Headers.of(("Preview", "0"))),
        Request("OPTIONS", URI, Headers.of(("Encapsulated", "null-body=0"))),
    ):
        with pytest.raises(LocalProtocolError):
            connection.send(request)
    connection = client(preview=2)
    with pytest.raises(LocalProtocolError):
        connection.send(Data(b"abc"))
    with pytest.raises(LocalProtocolError):
        connection.send(EndOfMessage())


PARTIAL = b"ICAP/1.0 206 Partial Content\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n%b" % (len(RES), RES)


@pytest.mark.parametrize(
    ("allow", "direct_204", "late_204", "direct_206", "late_206"),
    [
        ("trailers", True, False, False, False),
        ("204", True, True, False, False),
        ("206", True, False, True, False),
        ("204, 206", True, True, True, True),
    ],
)
def test_icap_c27_what_an_allow_line_promises(
    allow: str, direct_204: bool, late_204: bool, direct_206: bool, late_206: bool
) -> None:
    """ICAP-C25, ICAP-C26, ICAP-C27: a preview allows 204 by itself; after 100 Continue, or without a preview, only the line
    does. What rests on an original that need not be there any more is an error."""
    cases = (
        (False, NO_CONTENT, direct_204),
        (True, NO_CONTENT, late_204),
        (False, PARTIAL, direct_206),
        (True, PARTIAL, late_206),
    )
    for continued, answer, fine in cases:
        connection = client(preview=1, allow=allow)
        connection.send(Data(b"a"))
        connection.send(PreviewEnd())
        wire = (b"ICAP/1.0 100 Continue\r\n\r\n" if continued else b"") + answer
        if fine:
            assert isinstance(connection.receive_data(wire)[-1 if answer is PARTIAL else -2], Response)
        else:
            with pytest.raises(RemoteProtocolError, match="was not asked for"):
                connection.receive_data(wire)


def test_icap_c26_204_without_a_preview_and_without_allow_is_an_error() -> None:
    connection = client(allow="trailers")
    with pytest.raises(RemoteProtocolError, match="204 was not asked for"):
        connection.receive_data(NO_CONTENT)


def test_icap_c19_an_options_body_is_read_and_dropped() -> None:
    connection = ClientConnection()
    connection.send(Request("OPTIONS", URI))
    wire = b"ICAP/1.0 200 OK\r\nMethods: REQMOD\r\nOpt-body-type: x\r\nEncapsulated: opt-body=0\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert connection.receive_data(wire)[1:] == [Data(b"abc"), EndOfMessage()]
    assert connection.reusable
