"""Segment files as the drain sees them: whole lines, and whether a writer still holds one."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".seg"
READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines without their line feeds. ``end`` is the offset after them, ``torn`` the bytes of a line never finished."""

    lines: list[bytes]
    end: int
    torn: int = 0


def segments(directory: Path) -> list[Path]:
    """All segments, oldest first: names begin with the time of creation."""
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []
    return [directory / name for name in sorted(names)]


def directory_size(directory: Path) -> int:
    """Bytes in all segments. One that goes away meanwhile counts nothing."""
    total = 0
    for path in segments(directory):
        total += segment_size(path)
    return total


def segment_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def is_released(path: Path) -> bool:
    """Whether no writer holds the segment: it was rotated away or its process is gone. It will not grow any more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def read_chunk(path: Path, offset: int, released: bool, size: int = READ_BYTES) -> Chunk:
    """Whole lines from ``offset``, about ``size`` bytes of them.

    ``released`` must have been found out before the call: then a tail without a line feed is torn for good, and
    is passed over. In a live segment it is a write under way.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        data = file.read(size)
        while data and b"\n" not in data[-size:] and (more := file.read(size)):
            data += more
        at_end = not file.read(1)
    body, feed, tail = data.rpartition(b"\n")
    end = offset + len(body) + len(feed)
    lines = [line for line in body.split(b"\n") if line]
    if released and at_end and tail:
        return Chunk(lines, end + len(tail), len(tail))
    return Chunk(lines, end)
