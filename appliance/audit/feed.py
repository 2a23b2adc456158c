"""A feed: one sink, its cursor and its thread. What happens to it happens to no other sink."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from appliance.audit.batches import Batch, Batches
from appliance.audit.cursor import Cursor
from appliance.audit.segment import segment_size, segments
from appliance.audit.sinks.base import Sink

logger = logging.getLogger(__name__)

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
    """Carries the lines of all segments to one sink, batch by batch, from its cursor on."""

    def __init__(self, directory: Path, sink: Sink, batches: Batches, interval: float) -> None:
        self.name = sink.name
        self._directory = directory
        self._sink = sink
        self._batches = batches
        self._interval = interval
        self._cursor: Cursor | None = None
        self._offsets: dict[str, int] = {}
        self._stop = threading.Event()
        self._wake = threading.Event()
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
        self._wake.set()
        if self._thread:
            self._thread.join(timeout)

    def wake(self) -> None:
        """There is something for it. One that is at work, or waits until its sink may be well again, need not be told: it is
        told again with the next beat, while there is something."""
        self._wake.set()

    def has(self, name: str, size: int) -> bool:
        """Whether so many bytes of a segment are in the sink, and the cursor that says so is saved."""
        return self._offsets.get(name, 0) >= size

    def stats(self) -> FeedStats:
        offsets = self._offsets
        lag = sum(max(0, segment_size(path) - offsets.get(path.name, 0)) for path in segments(self._directory))
        return FeedStats(self._events, self._errors, self._rejected, self._torn, lag, self._error, not self._error)

    def pump(self) -> bool:
        """Carry everything that was there at the beginning. False when the sink failed; then nothing was passed over."""
        try:
            while (batch := self._batches.after(self._opened().offsets)) is not None:
                self._carry(batch, self._opened())
                if not batch.full:
                    break  # what has come meanwhile is few lines, and the next pass's
        except Exception as error:  # whatever a sink does wrong, its thread goes on and tries again
            self._failed(error)
            return False
        self._error = ""
        return True

    def _carry(self, batch: Batch, cursor: Cursor) -> None:
        if batch.lines:
            written = self._sink.write(batch.lines)
            cursor.state = written.state
            self._rejected += written.rejected
            self._events += len(batch.lines) - written.rejected
        self._torn += batch.torn
        cursor.offsets = dict(batch.offsets)
        cursor.save()
        self._offsets = dict(batch.offsets)

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
        except ValueError as error:
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
            if self.pump():
                pause = self._interval
                # what came during the pass is for the next beat: all feeds wake with it, and ask for the same batch
                self._wake.clear()
                if not self._stop.is_set():  # asked after it was cleared: to stop wakes as well
                    self._wake.wait()
            else:
                pause = min(MAX_PAUSE, max(pause, 0.1) * 2)
                self._stop.wait(pause)
        self.pump()
        self._sink.close()
