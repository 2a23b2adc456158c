"""Secrets that every worker shares: made once, in a file that only the appliance's account can read."""

import secrets
from pathlib import Path
from typing import Final

from appliance.files import write_new

SIZE: Final = 32


def ensure(file: Path) -> bytes:
    """The 32 random bytes in ``file``, made when it does not exist. Safe when several processes start at once.

    Raises:
        OSError: the file cannot be read or made.
        ValueError: it holds something else, or others may read it.
    """
    if not file.exists():
        write_new(file, secrets.token_bytes(SIZE))  # another process may be first: its key is everybody's
    if file.stat().st_mode & 0o077:
        raise ValueError(f"{file}: readable by others; chmod 600 {file}")
    data = file.read_bytes()
    if len(data) != SIZE:
        raise ValueError(f"{file}: not a key of {SIZE} bytes; delete it, and a new one is made")
    return data
