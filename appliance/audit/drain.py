"""The drain: carries every worker's segments to every sink, and deletes what all sinks have.

It runs in one process. A second drain on the same directory waits for the first one to end (``drain.lock``), so a
restarted process takes over and nothing is written twice at the same time.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from appliance.audit.batches import Batches
from appliance.audit.feed import Feed, FeedStats
from appliance.audit.segment import is_released, segment_size, segments
from appliance.audit.sinks.base import Sink

logger = logging.getLogger(__name__)


class Drain:
    """``interval`` seconds pass at most between a record and its way to the sinks, while those keep up."""

    def __init__(self, directory: Path, sinks: Sequence[Sink], *, interval: float = 0.2) -> None:
        if not sinks:
            raise ValueError("a drain without a sink would delete every record")
        self._directory = directory
        self._interval = interval
        batches = Batches(directory)
        self._feeds = [Feed(directory, sink, batches, interval) for sink in sinks]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._timeout = 10.0

    def start(self) -> None:
        """Begin, in threads. Returns at once, also while another drain still holds the directory."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="audit-drain", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """A last pass over everything, then end; at most about ``timeout`` seconds."""
        self._timeout = timeout / len(self._feeds)
        self._stop.set()
        if self._thread:
            self._thread.join(timeout + 1.0)

    def stats(self) -> dict[str, FeedStats]:
        """By name of the sink."""
        return {feed.name: feed.stats() for feed in self._feeds}

    def drain_once(self) -> bool:
        """One pass in the caller's thread, for tools and tests; not while the threads run. False when a sink failed."""
        results = [feed.pump() for feed in self._feeds]
        self._sweep()
        return all(results)

    def _run(self) -> None:
        lock = os.open(self._directory / "drain.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not self._acquire(lock):
                return
            for feed in self._feeds:
                feed.start()
            while not self._stop.wait(self._interval):
                self._beat()
            for feed in self._feeds:
                feed.stop(self._timeout)
            self._beat()
        finally:
            os.close(lock)

    def _acquire(self, lock: int) -> bool:
        while not self._stop.is_set():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._stop.wait(self._interval)
            else:
                return True
        return False

    def _beat(self) -> None:
        try:
            self._sweep()
        except OSError as error:
            logger.error("drained segments cannot be deleted", extra={"error": str(error)})

    def _sweep(self) -> None:
        """Wake the feeds that have not all there is, and delete what all of them have and no writer holds.

        One look for all feeds: while nothing comes, none of them wakes. First they are woken: to delete may fail.
        """
        done = [path for path in segments(self._directory) if not self._wake_for(path)]
        for path in done:
            # its size is asked again once it is released: then it stands still
            if is_released(path) and self._all_have(path):
                path.unlink(missing_ok=True)

    def _wake_for(self, path: Path) -> bool:
        """Whether any feed has not all of the segment."""
        size = segment_size(path)
        behind = [feed for feed in self._feeds if not feed.has(path.name, size)]
        for feed in behind:
            feed.wake()
        return bool(behind)

    def _all_have(self, path: Path) -> bool:
        size = segment_size(path)
        return all(feed.has(path.name, size) for feed in self._feeds)
