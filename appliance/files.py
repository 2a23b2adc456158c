"""Small files that other processes read while we write: whole or not at all, and never readable for other users."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_whole(file: Path, data: bytes, *, durable: bool = True, modified: float | None = None) -> None:
    """Put ``data`` in place of what is in ``file``, mode 0600; a reader sees either. Raises OSError.

    ``durable``: wait for the disk, which takes milliseconds; without it, a crash of the machine may take the change back.
    ``modified``: the file's time of change, if it says something else than when that was.
    """
    with _draft(file, data, durable=durable) as draft:
        if modified is not None:
            os.utime(draft, (modified, modified))
        draft.replace(file)
    if durable:
        sync(file.parent)


def write_new(file: Path, data: bytes) -> bool:
    """Make ``file``, mode 0600, and the folder around it; False when there is one already, which stays. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _draft(file, data, durable=True) as draft:
        try:
            os.link(draft, file)
        except FileExistsError:  # another process was first
            return False
    sync(file.parent)
    return True


@contextmanager
def _draft(file: Path, data: bytes, *, durable: bool) -> Iterator[Path]:
    """``data`` under a name of its own beside ``file``, which is gone afterwards."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(descriptor)
        yield draft
    finally:
        with suppress(FileNotFoundError):  # it has its final name
            draft.unlink()


def sync(directory: Path) -> None:
    """Let the names in a folder outlive a crash. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process at a time. The lock goes with the process, so a killed one leaves none behind."""
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def stamp(path: Path) -> tuple[int, ...]:
    """What is another value once the file was replaced or written to; empty when there is none. Raises OSError."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
