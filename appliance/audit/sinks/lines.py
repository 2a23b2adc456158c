"""The JSON lines sink: one file to follow, rotated by size.

After a crash the file may hold lines that the cursor does not know of. They are cut off and written again, so each
event stands there once. A file that is not the one the cursor speaks of (moved away, or cut, by another program) is
left as it is.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from appliance.audit.sinks.base import State, Written


class JsonLinesSink:
    """Writes to ``path``; above ``rotate_size`` bytes it becomes ``path.1``, and ``keep`` old files stay."""

    name = "json-lines"

    def __init__(self, path: Path, rotate_size: int = 256 * 1024 * 1024, keep: int = 10) -> None:
        self._path = path
        self._rotate_size = rotate_size
        self._keep = keep

    def open(self, state: State) -> State:
        inode, offset = state.get("inode"), state.get("offset", 0)
        if inode is not None and isinstance(offset, int):
            if _inode(self._path) == inode:
                _cut(self._path, offset)
            elif _inode(self._old(1)) == inode and offset >= self._rotate_size:
                # we rotated after the last batch that counts: all of the new file came after it
                _cut(self._path, 0)
        return self._append(b"\n" if _ends_inside_a_line(self._path) else b"")

    def write(self, lines: Sequence[bytes]) -> Written:
        good = [line for line in lines if line.startswith(b"{") and line.endswith(b"}")]
        self._rotate()
        return Written(self._append(b"\n".join([*good, b""])), len(lines) - len(good))

    def close(self) -> None:
        """Nothing stays open between batches, so another program may move the file at any time."""

    def _append(self, data: bytes) -> State:
        """All of it, synced, or nothing. Returns where the file ends now."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(fd).st_size
            try:
                _write_all(fd, data)
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, before)
                raise
            status = os.fstat(fd)
        finally:
            os.close(fd)
        return {"inode": status.st_ino, "offset": status.st_size}

    def _rotate(self) -> None:
        if _size(self._path) < self._rotate_size:
            return
        for number in range(self._keep, 0, -1):
            source = self._old(number - 1)
            if source.exists():
                source.replace(self._old(number))

    def _old(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _ends_inside_a_line(path: Path) -> bool:
    """What another program, or a crash before the first cursor, left unfinished must not swallow the next line."""
    if not _size(path):
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _cut(path: Path, size: int) -> None:
    if _size(path) > size:
        os.truncate(path, size)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
