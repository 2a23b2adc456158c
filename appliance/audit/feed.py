"""A feed: one sink, its cursor and its thread. What happens to it happens to no other sink."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from appliance.audit.cursor import Cursor
from appliance.audit.segment import is_released, read_chunk, segment_size, segments
from appliance.audit.sinks.base import Sink

logger = logging.getLogger(__name__)

BATCH_BYTES = 1024 * 1024
MAX_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class FeedStats:
    """``lag_bytes``: in the spool, not yet in the sink. ``rejected`` lines are no events, ``torn`` ones unfinished."""

    events: int
    errors: int
    rejected: int
    torn: int
    lag_bytes: int
    last_error: str
    healthy: bool


class Feed:
    """Carries lines from all segments to one sink, in the order of the segments, each segment from its cursor."""

    def __init__(self, directory: Path, sink: Sink, interval: float) -> None:
        self.name = sink.name
        self._directory = directory
        self._sink = sink
        self._interval = interval
        self._cursor: Cursor | None = None
        self._offsets: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._events = self._errors = self._rejected = self._torn = 0
        self._error = ""

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=f"audit-{self.name}", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """One last pass, then end. A sink that hangs is left alone after ``timeout`` seconds: the spool keeps its events."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout)

    def done_with(self, path: Path) -> bool:
        """Whether every byte of the segment is in the sink, and the cursor that says so is saved."""
        return self._offsets.get(path.name, 0) >= segment_size(path)

    def stats(self) -> FeedStats:
        offsets = self._offsets
        lag = sum(max(0, segment_size(path) - offsets.get(path.name, 0)) for path in segments(self._directory))
        return FeedStats(self._events, self._errors, self._rejected, self._torn, lag, self._error, not self._error)

    def pump(self) -> bool:
        """Carry everything that is there. False when the sink failed; then nothing was passed over."""
        try:
            for path in segments(self._directory):
                while self._carry(path):
                    pass
        except Exception as error:  # whatever a sink does wrong, its thread goes on and tries again
            self._failed(error)
            return False
        self._error = ""
        return True

    def _carry(self, path: Path) -> bool:
        cursor = self._opened()
        offset = cursor.offsets.get(path.name, 0)
        if segment_size(path) <= offset:
            return False
        released = is_released(path)
        chunk = read_chunk(path, offset, released, BATCH_BYTES)
        if chunk.end == offset:
            return False
        if chunk.lines:
            written = self._sink.write(chunk.lines)
            cursor.state = written.state
            self._rejected += written.rejected
            self._events += len(chunk.lines) - written.rejected
        self._torn += bool(chunk.torn)
        cursor.keep({segment.name for segment in segments(self._directory)})
        cursor.offsets[path.name] = chunk.end
        cursor.save()
        self._offsets = dict(cursor.offsets)
        return True

    def _opened(self) -> Cursor:
        if self._cursor is None:
            cursor = self._load()
            cursor.state = self._sink.open(cursor.state)
            cursor.save()
            self._cursor, self._offsets = cursor, dict(cursor.offsets)
        return self._cursor

    def _load(self) -> Cursor:
        path = self._directory / f"cursor-{self.name}.json"
        try:
            return Cursor.load(path)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Begin again rather than stop: the store ignores what it has.
            logger.error("cursor unreadable, all segments are offered again", extra={"path": str(path), "error": str(error)})
            return Cursor(path)

    def _failed(self, error: Exception) -> None:
        self._cursor = None
        self._errors += 1
        text = f"{type(error).__name__}: {error}"
        if text != self._error:
            logger.error("the audit sink does not take events", extra={"sink": self.name, "error": text})
        self._error = text

    def _run(self) -> None:
        pause = self._interval
        while not self._stop.is_set():
            pause = self._interval if self.pump() else min(MAX_PAUSE, max(pause, 0.1) * 2)
            self._stop.wait(pause)
        self.pump()
        self._sink.close()
