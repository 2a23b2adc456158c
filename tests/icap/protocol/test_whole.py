"""A request that came in one read and the same request byte by byte: two parsers, one meaning."""

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from icap.protocol import Continue, Data, EndOfMessage, Limits, PreviewEnd, RemoteProtocolError, Request, ServerConnection
from icap.protocol.events import RequestEvent
from icap.protocol.server import Reading
from icap.protocol.whole import read_whole

REQ = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
LINES = [
    b"Host: h",
    b"Host:h",
    b"Host: \t h \t",
    b"Preview: 5",
    b"Preview: x",
    b"Preview: 0",
    b"Allow: 204, 206",
    b"X: a\r\n b",
    b"X: \0",
    b"X Y: 1",
    b": 1",
    b"X:",
    b"X: \xff\xe9",
    b"Connection: keep-alive, Close",
    b"X: " + b"v" * 50,
    b" folded",
    b"X: a\rb",
    b"Preview: 5\r\nPreview: 5",
]
LISTS = [
    b"req-hdr=0, null-body=27",
    b"req-hdr=0, req-body=27",
    b"req-body=0",
    b"null-body=0",
    b"req-hdr=0, req-body=26",
    b"req-hdr=0,req-body=27",
    b"res-hdr=0, res-body=27",
    b"req-hdr=0, req-body=28",
    b"req-hdr=1, req-body=27",
    b"",
    b"opt-body=0",
]
BODIES = [
    b"",
    b"5\r\nabcde\r\n0\r\n\r\n",
    b"5\r\nabcde\r\n0; ieof\r\n\r\n",
    b"0\r\n\r\n",
    b"0; ieof\r\n\r\n",
    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    b"5;a=b\r\nabcde\r\n0\r\n\r\n",
    b"5\r\nabcde\r\n0\r\nT: 1\r\n\r\n",
    b"6\r\nabcdef\r\n0; ieof\r\n\r\n",
    b"5\r\nabcdef\r\n0\r\n\r\n",
    b"5\r\nabcde\r\n0;ieof\r\n\r\n",
    b"zz\r\nabcde\r\n0\r\n\r\n",
    b"0005\r\nabcde\r\n0\r\n\r\nREQMOD",
    b"5\r\nabcde\r\n0\r\n\r\n\r\n",
    b"5\r\nab",
    b"000000005\r\nabcde\r\n0\r\n\r\n",
]
STARTS = [
    b"REQMOD icap://h/s ICAP/1.0",
    b"RESPMOD icap://h/s ICAP/1.0",
    b"OPTIONS icap://h/s ICAP/1.0",
    b"BREW icap://h/s ICAP/1.0",
    b"REQMOD icap://h/s ICAP/2.0",
    b"REQMOD  icap://h/s ICAP/1.0",
    b"",
    b"REQMOD icap://h/s ICAP/1.0 ",
]

type Told = tuple[list[RequestEvent], int | None, Reading, bool]


def told(wire: bytes, limits: Limits, step: int) -> Told:
    """Events (body bytes merged), the status of the refusal, and the state, after ``wire`` in pieces of ``step`` bytes."""
    server = ServerConnection(limits)
    events: list[RequestEvent] = []
    status = None
    try:
        for at in range(0, len(wire), step):
            for event in server.receive_data(wire[at : at + step]):
                if isinstance(event, Data) and events and isinstance(events[-1], Data):
                    event = Data(events.pop().data + event.data)  # type: ignore[union-attr]
                events.append(event)
    except RemoteProtocolError as error:
        status = error.status
    return events, status, server.reading, server.must_close


@given(
    st.sampled_from(STARTS), st.lists(st.sampled_from(LINES), max_size=3), st.sampled_from(LISTS), st.sampled_from(BODIES),
    st.sampled_from([Limits(), Limits(body_bytes=5), Limits(body_bytes=4), Limits(header_line=60), Limits(header_count=2),
                     Limits(section_bytes=26), Limits(start_line=26), Limits(start_line=25), Limits(header_bytes=80)]),
)  # fmt: skip
@example(STARTS[0], [LINES[0]], LISTS[1], BODIES[1], Limits())
@example(STARTS[0], [LINES[3]], LISTS[1], BODIES[2], Limits())
def test_icap_s20_one_read_or_many_mean_the_same(
    start: bytes, lines: list[bytes], sections: bytes, body: bytes, limits: Limits
) -> None:
    """ICAP-S15, ICAP-S20"""
    fields = b"".join(line + b"\r\n" for line in lines)
    wire = b"%b\r\n%bEncapsulated: %b\r\n\r\n%b%b" % (start, fields, sections, REQ if b"hdr" in sections else b"", body)
    at_once, bytewise = told(wire, limits, len(wire)), told(wire, limits, 1)
    assert at_once[1:] == bytewise[1:]
    if at_once[1] is None:
        assert at_once[0] == bytewise[0]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_icap_c11_any_bytes_mean_the_same_in_one_read_or_many(garbage: bytes, cut: int) -> None:
    wire = (
        b"REQMOD icap://h/s ICAP/1.0\r\nHost: h\r\nEncapsulated: req-hdr=0, req-body=27\r\n\r\n"
        + REQ
        + b"3\r\nabc\r\n0\r\n\r\n"
    )
    mixed = wire[:cut] + garbage + wire[cut:]
    whole, pieces = told(mixed, Limits(), len(mixed)), told(mixed, Limits(), 1)
    assert whole[1] == pieces[1]
    if whole[1] is None and b"REQMOD" not in garbage:
        assert whole[0] == pieces[0]


@pytest.mark.parametrize(
    ("sections", "preview", "body", "after"),
    [
        (b"req-hdr=0, null-body=27", b"", b"", []),
        (b"req-hdr=0, req-body=27", b"", BODIES[1], [Data(b"abcde"), EndOfMessage()]),
        (b"req-hdr=0, req-body=27", b"Preview: 5\r\n", BODIES[2], [Data(b"abcde"), EndOfMessage(ieof=True)]),
        (b"req-hdr=0, req-body=27", b"Preview: 5\r\n", BODIES[1], [Data(b"abcde"), PreviewEnd()]),
    ],
)
def test_the_usual_shapes_take_the_short_way(sections: bytes, preview: bytes, body: bytes, after: list[RequestEvent]) -> None:
    """Otherwise the short way could be lost and no test would tell."""
    wire = b"REQMOD icap://h/s ICAP/1.0\r\nHost: h\r\n%bEncapsulated: %b\r\n\r\n%b%b" % (preview, sections, REQ, body)
    server = ServerConnection()
    assert len(server._buffer) == 0
    events = server.receive_data(wire)
    assert isinstance(events[0], Request)
    assert events[1:] == after
    assert server._pending is None  # the general parser leaves its half-read request there
    from icap.protocol.request_fields import request_fields

    assert read_whole(wire, Limits(), request_fields) is not None


def test_icap_s05_the_rest_after_a_preview_that_came_in_one_read() -> None:
    """The preview's size counts in the body's limit (ICAP-C11)."""
    wire = b"REQMOD icap://h/s ICAP/1.0\r\nHost: h\r\nPreview: 5\r\nEncapsulated: req-body=0\r\n\r\n" + BODIES[1]
    for size, fits in ((3, True), (4, False)):
        server = ServerConnection(Limits(body_bytes=8))
        server.receive_data(wire)
        server.send(Continue())
        rest = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"z" * size)
        if fits:
            assert server.receive_data(rest) == [Data(b"zzz"), EndOfMessage()]
        else:
            with pytest.raises(RemoteProtocolError):
                server.receive_data(rest)
