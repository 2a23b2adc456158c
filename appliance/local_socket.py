"""Unix sockets of our own, in a directory that nobody else may enter."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BACKLOG = 256
_CREDENTIALS = struct.Struct("3i")
"""``struct ucred``: process, user and group."""


def bind(directory: Path, name: str) -> socket.socket:
    """A listening socket, mode 0600. One that an earlier run has left is replaced. Raises OSError."""
    with _short(directory) as base:
        path = base / name
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(path))
            path.chmod(0o600)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    return sock


def connect(directory: Path, name: str) -> socket.socket:
    """A connected socket that does not block. Raises OSError, also when the other side has too many waiting."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with _short(directory) as base:
            sock.connect(str(base / name))
    except OSError:
        sock.close()
        raise
    return sock


def peer_user(sock: socket.socket) -> int:
    """The user of the process at the other end, as the kernel knows it. Raises OSError."""
    _, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(user)


@contextmanager
def _short(directory: Path) -> Iterator[Path]:
    """The directory under a short name: the path of a socket may have 108 bytes (unix(7)), a state directory has more."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
