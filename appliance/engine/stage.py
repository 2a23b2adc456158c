"""Before a process serves: it says that everything is there, and its parent says when to begin.

So a generation of processes begins as a whole or not at all, and the one before it need not stop a moment too early.
"""

import asyncio
import socket

READY = b"r"
BEGIN = b"b"


class Stage:
    """The process's side of the line to its parent; without one it begins at once."""

    def __init__(self, line: socket.socket | None = None) -> None:
        self._line = line

    async def enter(self) -> None:
        """Say that everything is there, and wait for the word to begin.

        Raises:
            SystemExit: the parent has gone, or has decided otherwise.
        """
        if self._line is None:
            return
        with self._line as line:
            line.setblocking(False)
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_sendall(line, READY)
                word = await loop.sock_recv(line, 1)
            except OSError:
                word = b""
        if word != BEGIN:
            raise SystemExit(0)
