"""What the feeds carry next: the new lines of all segments at once, up to a bound.

One batch for each pass, however many workers write: a batch costs a commit, a sync and a saved cursor, whether it has
two lines or a thousand. Feeds that have come equally far, as all have while no sink is in trouble, get the same one:
it is read and cut into lines once.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.audit.segment import is_released, read_chunk, segment_size, segments

BATCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """``lines`` belong to all feeds: nobody changes them. ``offsets``: how far they go, by name of each segment that is there.
    ``torn``: how many segments end in a line that was never finished. ``full``: the bound ended it, there may be more."""

    lines: list[bytes]
    offsets: Mapping[str, int]
    torn: int
    full: bool


class Batches:
    """Of one directory, for all its feeds; each in its own thread."""

    def __init__(self, directory: Path, size: int = BATCH_BYTES) -> None:
        self._directory = directory
        self._size = size
        self._lock = threading.Lock()
        self._last: tuple[Mapping[str, int], Batch] | None = None

    def after(self, offsets: Mapping[str, int]) -> Batch | None:
        """What comes after those, in the order of the segments; None when there is nothing.

        Raises:
            OSError: a segment cannot be read.
        """
        with self._lock:
            if self._last is not None and self._last[0] == offsets:
                return self._last[1]
            batch = self._read(offsets)
            self._last = None if batch is None else (dict(offsets), batch)
            return batch

    def _read(self, offsets: Mapping[str, int]) -> Batch | None:
        lines: list[bytes] = []
        ends: dict[str, int] = {}
        room, torn, full = self._size, 0, False
        for path in segments(self._directory):
            ends[path.name] = offset = offsets.get(path.name, 0)
            new = segment_size(path) - offset
            if new <= 0 or full:
                continue
            # asked before it is read: what nobody holds does not grow
            chunk = read_chunk(path, offset, is_released(path), min(new, room))
            lines += chunk.lines
            ends[path.name] = chunk.end
            torn += bool(chunk.torn)
            full = new >= room and chunk.end > offset
            room -= chunk.end - offset
        if all(offsets.get(name, 0) == end for name, end in ends.items()):
            return None
        return Batch(lines, ends, torn, full)
