"""Secrets that every worker shares: made once, in a file that only the appliance's account can read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

SIZE: Final = 32


def ensure(file: Path) -> bytes:
    """The 32 random bytes in ``file``, made when it does not exist. Safe when several processes start at once.

    Raises:
        OSError: the file cannot be read or made.
        ValueError: it holds something else, or others may read it.
    """
    if not file.exists():
        _make(file)
    if file.stat().st_mode & 0o077:
        raise ValueError(f"{file}: readable by others; chmod 600 {file}")
    data = file.read_bytes()
    if len(data) != SIZE:
        raise ValueError(f"{file}: not a key of {SIZE} bytes; delete it, and a new one is made")
    return data


def _make(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(SIZE))
            stream.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):  # another process was first: its key is everybody's
            os.link(draft, file)
    finally:
        draft.unlink()
