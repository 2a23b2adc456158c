"""Where a clamd listens, and how a socket gets there."""

import asyncio
import errno
import socket
from dataclasses import dataclass
from pathlib import Path

BACKLOG_RETRY = 0.02
"""Seconds between tries while the listener's backlog is full."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A unix socket path, or a host (an address, or a name) and port."""

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def unix(cls, path: Path | str) -> "Endpoint":
        return cls(path=str(path))

    @classmethod
    def tcp(cls, text: str) -> "Endpoint":
        """``host:port``; an IPv6 address stands in brackets. Raises ValueError."""
        host, separator, port = text.rpartition(":")
        if not separator or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise ValueError(f"not host:port: {text!r}")
        return cls(host=host.removeprefix("[").removesuffix("]"), port=int(port))

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    async def connect(self) -> socket.socket:
        """A connected non-blocking socket. Raises OSError. The caller sets the deadline."""
        return await (self._connect_unix() if self.path else self._connect_tcp())

    async def _connect_unix(self) -> socket.socket:
        # Not loop.sock_connect: a full backlog is EAGAIN on a unix socket, which asyncio takes for "in progress" and
        # reports as connected. It is neither; the only remedy is to try again.
        while (sock := _try_unix(self.path)) is None:  # noqa: ASYNC110  the kernel has no event for "room in the backlog"
            await asyncio.sleep(BACKLOG_RETRY)
        return sock

    async def _connect_tcp(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        failure = OSError(f"no address for {self.host}")
        for family, kind, _, _, address in await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure


def _try_unix(path: str) -> socket.socket | None:
    """A connected socket; None when the listener's backlog is full."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    code = sock.connect_ex(path)
    if not code:
        return sock
    sock.close()
    if code == errno.EAGAIN:
        return None
    raise OSError(code, f"{errno.errorcode.get(code, code)} connecting to {path}")
