"""Counting HTTP/2 frames before anything parses them: nine octets per frame, so a flood costs less than it costs its sender."""

from collections.abc import Callable

from appliance.engine.http.faults import BadMessage, Fault

DATA, HEADERS, WINDOW_UPDATE, CONTINUATION = 0, 1, 8, 9
_END_STREAM, _END_HEADERS = 0x1, 0x4
_PREFACE = 24
_TINY = 16
_BLOCK_SLACK = 1024
"""Padding, priority and length octets of a header block, on top of what the list itself may take."""

type Clock = Callable[[], float]


class FrameMeter:
    """Frames and new streams of one connection, per second of ``clock``.

    Counted are HEADERS as streams, and as control frames all that carry no body octets: PING, SETTINGS, PRIORITY, RST_STREAM,
    CONTINUATION, unknown types, and WINDOW_UPDATE beyond what the data we send explains. DATA under 16 octets counts too,
    unless it ends a stream: parsing it costs as much as a PING, and one octet per frame is no way to send a body.
    """

    def __init__(self, streams: int, frames: int, block_size: int, clock: Clock, *, preface: bool) -> None:
        self._max_streams, self._max_frames, self._max_block = streams, frames, block_size + _BLOCK_SLACK
        self._clock = clock
        self._skip = _PREFACE if preface else 0
        self._partial = b""
        self._start = clock()
        self._streams = self._frames = self._credit = self._block = 0

    def sent(self, size: int) -> None:
        """Body octets went to the peer, which explains some WINDOW_UPDATE frames (two per 4 KiB, as two windows exist)."""
        self._credit = min(self._credit + size // 2048 + 2, self._max_frames)

    def measure(self, data: bytes) -> None:
        """Raises BadMessage(FLOOD or HEAD_SIZE) when ``data`` brings a count over its limit; it must not be parsed then."""
        now = self._clock()
        if now - self._start >= 1.0:
            self._start, self._streams, self._frames = now, 0, 0
        if self._partial:
            data = self._partial + data
            self._partial = b""
        pos, size = self._skip, len(data)
        while pos + 9 <= size:
            length = int.from_bytes(data[pos : pos + 3])
            self._count(length, data[pos + 3], data[pos + 4])
            pos += 9 + length
        if pos < size:
            self._partial = data[pos:]
            self._skip = 0
        else:
            self._skip = pos - size

    def _count(self, length: int, kind: int, flags: int) -> None:
        if kind == DATA and (length >= _TINY or flags & _END_STREAM):
            return
        if kind == HEADERS:
            self._streams += 1
            self._block = 0
        elif kind == WINDOW_UPDATE and self._credit:
            self._credit -= 1
        else:
            self._frames += 1
        if kind in (HEADERS, CONTINUATION):
            self._block += length
            if self._block > self._max_block:
                raise BadMessage(Fault.HEAD_SIZE, f"header block over {self._max_block} bytes")
        if self._streams > self._max_streams:
            raise BadMessage(Fault.FLOOD, f"more than {self._max_streams} streams per second")
        if self._frames > self._max_frames:
            raise BadMessage(Fault.FLOOD, f"more than {self._max_frames} control frames per second")
