"""The other end of an HTTP/2 connection, made of raw frames: it sends what no library would."""

from dataclasses import dataclass, field

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
type Fields = list[tuple[bytes, bytes]]


@dataclass
class Peer:
    encoder: Encoder = field(default_factory=Encoder)

    def headers(self, stream_id: int, fields: Fields, *, end: bool = True, end_headers: bool = True) -> bytes:
        frame = HeadersFrame(stream_id, data=self.encoder.encode(fields, huffman=False))
        frame.flags |= {flag for flag, on in (("END_STREAM", end), ("END_HEADERS", end_headers)) if on}
        return bytes(frame.serialize())


def preface() -> bytes:
    return PREFACE + settings()


def settings(values: dict[int, int] | None = None) -> bytes:
    return bytes(SettingsFrame(0, settings=values or {}).serialize())


def data(stream_id: int, body: bytes, *, end: bool = True) -> bytes:
    frame = DataFrame(stream_id, data=body)
    if end:
        frame.flags.add("END_STREAM")
    return bytes(frame.serialize())


def ping() -> bytes:
    return bytes(PingFrame(0, opaque_data=b"12345678").serialize())


def reset(stream_id: int, code: int = 8) -> bytes:
    return bytes(RstStreamFrame(stream_id, error_code=code).serialize())


def continuation(stream_id: int, block: bytes, *, end: bool = False) -> bytes:
    frame = ContinuationFrame(stream_id, data=block)
    if end:
        frame.flags.add("END_HEADERS")
    return bytes(frame.serialize())


def goaway(last: int, code: int = 0) -> bytes:
    return bytes(GoAwayFrame(0, last_stream_id=last, error_code=code).serialize())


@dataclass
class Received:
    """What the layer wrote, decoded."""

    headers: dict[int, list[Fields]] = field(default_factory=dict)
    body: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    resets: dict[int, int] = field(default_factory=dict)
    goaway: int | None = None
    settings: dict[int, int] = field(default_factory=dict)

    def status(self, stream_id: int) -> bytes:
        return dict(self.headers[stream_id][0])[b":status"]


def decode(raw: bytes) -> Received:
    received, decoder = Received(), Decoder()
    raw = raw.removeprefix(PREFACE)
    while raw:
        frame, size = Frame.parse_frame_header(memoryview(raw[:9]))
        frame.parse_body(memoryview(raw[9 : 9 + size]))
        raw = raw[9 + size :]
        _take(received, decoder, frame)
    return received


def _take(received: Received, decoder: Decoder, frame: Frame) -> None:
    number = frame.stream_id
    if isinstance(frame, HeadersFrame):
        fields = [(bytes(name), bytes(value)) for name, value in decoder.decode(frame.data, raw=True)]
        received.headers.setdefault(number, []).append(fields)
    elif isinstance(frame, DataFrame):
        received.body[number] = received.body.get(number, b"") + frame.data
    elif isinstance(frame, RstStreamFrame):
        received.resets[number] = frame.error_code
    elif isinstance(frame, GoAwayFrame):
        received.goaway = frame.error_code
    elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
        received.settings.update(frame.settings)
    if "END_STREAM" in frame.flags:
        received.ended.add(number)
