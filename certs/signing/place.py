"""Where the signer is reached: a socket in a directory that nobody else may enter."""

import os
import socket
from contextlib import suppress
from pathlib import Path

from appliance import local_socket

NAME = "signer.sock"
_BEFORE = "signer-before.sock"
_NEXT = "signer-next.sock"


def bind(directory: Path) -> socket.socket:
    """A listening socket, mode 0600. One that an earlier run has left is replaced. Raises OSError."""
    return local_socket.bind(directory, NAME)


def bind_next(directory: Path) -> socket.socket:
    """The same for a signer that is to take the place of the one that runs: under another name, for the time being."""
    return local_socket.bind(directory, _NEXT)


def exchange(directory: Path) -> None:
    """Whoever connects from now on reaches the next signer. Raises OSError."""
    name, before = directory / NAME, directory / _BEFORE
    before.unlink(missing_ok=True)
    with suppress(FileNotFoundError):  # there was no signer before
        os.link(name, before)
    (directory / _NEXT).replace(name)


def restore(directory: Path) -> None:
    """The exchange is taken back. Raises OSError."""
    (directory / NAME).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        (directory / _BEFORE).replace(directory / NAME)


def connect(directory: Path) -> socket.socket:
    """A connected socket that does not block. Raises OSError, also when the signer has too many waiting."""
    return local_socket.connect(directory, NAME)


peer_user = local_socket.peer_user
