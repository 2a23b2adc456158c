"""The spool: where a record stands before its task is released.

Each process appends to its own segment file, one ``write`` for each record, and holds a ``flock`` on it. The lock
tells the drain that the writer lives: the kernel drops it with the process, also after ``kill -9``, and never too early.
A record costs one system call and waits for no sink. What was written survives the death of the process; a loss
of power can take what the drain has not stored yet (docs/audit.md gives the window).
"""

import errno
import fcntl
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from appliance.audit.errors import SpoolError, SpoolFull
from appliance.audit.segment import SUFFIX, directory_size
from appliance.domain.clock import Clock, SystemClock

SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_AGE = 60.0
FULL_SHARE = 0.9
"""New tasks are refused above this share of the bound; the rest is for the records of tasks under way."""
_CHECK_EVERY = 0.25
_PROBE = b" " * 8192
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(slots=True)
class SpoolStats:
    """Counts since the process started."""

    records: int = 0
    bytes: int = 0
    refused: int = 0
    """Records that could not be written. Their tasks were not released."""


class Spool:
    """One process's writer. Make it after the fork: the lock goes with the open file.

    ``max_bytes`` bounds the whole directory, all workers and undrained segments together.

    Raises:
        SpoolError: the directory or the first segment cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        worker_index: int,
        max_bytes: int,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segment_age: float = SEGMENT_AGE,
        clock: Clock | None = None,
    ) -> None:
        self.stats = SpoolStats()
        self._directory = directory
        self._worker = worker_index
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._segment_age = segment_age
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._serial = 0
        self._fd = -1
        self._offset = 0
        self._opened = 0.0
        self._used = 0
        self._checked = 0.0
        self._failed = False
        with self._lock:
            self._open()
            self._measure()

    @property
    def full(self) -> bool:
        """Whether new tasks must be refused: little room is left, or the last write failed and the disk still has none."""
        with self._lock:
            if self._clock.monotonic() - self._checked >= _CHECK_EVERY:
                try:
                    self._refresh()
                except OSError:
                    self._failed = True  # a directory that cannot be read is no place for a record
            return self._failed or self._used >= self._max_bytes * FULL_SHARE

    @property
    def used(self) -> int:
        """Bytes in the directory, as last measured, plus what this process wrote since."""
        return self._used

    def write(self, record: bytes) -> None:
        """Append one record (JSON without a line feed). On return it is the kernel's: the death of this process loses nothing.

        Raises:
            SpoolFull: no room. Nothing was written.
            SpoolError: any other failure of the disk. Nothing was written, or a torn line that readers leave out.
        """
        with self._lock:
            try:
                self._prepare(len(record) + 1)
                self._append(record + b"\n")
            except OSError as error:
                self._failed = True
                self.stats.refused += 1
                raise _as_error(error) from error
            except SpoolError:
                self.stats.refused += 1
                raise
            self.stats.records += 1

    def close(self) -> None:
        """Release the segment. The drain then reads it to the end and deletes it."""
        with self._lock:
            self._release()

    def _prepare(self, size: int) -> None:
        now = self._clock.monotonic()
        if now - self._checked >= _CHECK_EVERY:
            self._refresh()
        if self._used + size > self._max_bytes:
            raise SpoolFull(f"the audit spool holds {self._used} of {self._max_bytes} bytes")
        if self._fd < 0 or self._offset >= self._segment_bytes or now - self._opened >= self._segment_age:
            self._rotate()

    def _append(self, line: bytes) -> None:
        written = os.write(self._fd, line)
        if written != len(line):
            self._undo()
            raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes were written")
        self._offset += written
        self._used += written
        self.stats.bytes += written

    def _undo(self) -> None:
        """Take back a torn line. Where that fails, too, leave the segment: nothing must follow a torn line."""
        try:
            os.ftruncate(self._fd, self._offset)
        except OSError:
            self._release()

    def _rotate(self) -> None:
        previous = self._fd
        if previous >= 0 and self._offset == 0:
            self._opened = self._clock.monotonic()
            return
        try:
            self._open()
        except SpoolError:
            if previous < 0:
                self._failed = True
                raise
            return  # the old segment still takes records; the next one tries again
        if previous >= 0:
            os.close(previous)

    def _open(self) -> None:
        """Locked before it has its name, so that the drain never sees a live segment without its lock."""
        while not self._opened_as(self._name()):
            pass  # another spool of this process has this name

    def _name(self) -> str:
        self._serial += 1
        return f"{int(self._clock.now() * 1000):013d}-{self._worker:03d}-{os.getpid()}-{self._serial:06d}"

    def _opened_as(self, stem: str) -> bool:
        hidden = self._directory / f".{stem}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return False
        except OSError as error:
            raise _as_error(error) from error
        try:
            _give_to_owner(fd, self._directory)
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.link(hidden, self._directory / f"{stem}{SUFFIX}")  # unlike a rename, it replaces nothing
        except OSError as error:
            os.close(fd)
            if isinstance(error, FileExistsError):
                return False
            raise _as_error(error) from error
        finally:
            hidden.unlink(missing_ok=True)
        self._fd, self._offset, self._opened = fd, 0, self._clock.monotonic()
        return True

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _refresh(self) -> None:
        self._measure()
        if self._fd >= 0 and os.fstat(self._fd).st_nlink == 0:
            self._release()  # somebody removed the file: what goes there would be lost
        if self._failed:
            self._probe()

    def _measure(self) -> None:
        self._used = directory_size(self._directory)
        self._checked = self._clock.monotonic()

    def _probe(self) -> None:
        """Whether there is room again; a short record that still fits into the last page does not say so.

        Spaces without a line feed: readers stop before them, so they can be taken back.
        """
        try:
            if self._fd < 0:
                self._open()
            complete = os.write(self._fd, _PROBE) == len(_PROBE)
            os.ftruncate(self._fd, self._offset)
        except (OSError, SpoolError):
            return
        self._failed = not complete


def _give_to_owner(fd: int, directory: Path) -> None:
    """A command that root runs writes here, too; the drain, which runs as the appliance's user, must be able to read it."""
    if os.geteuid() == 0 and (owner := directory.stat()).st_uid != 0:
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _as_error(error: OSError) -> SpoolError:
    text = f"audit spool: {os.strerror(error.errno or errno.EIO)}"
    return SpoolFull(text) if error.errno in _NO_ROOM else SpoolError(text)
