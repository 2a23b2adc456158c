"""Kept connections to clamd (IDSESSION, clamd(8)), for bodies of one frame: to connect for each costs both sides more than
the scan of a small body.

A verdict counts only when it has the number of its question, and there is one question at a time on a connection. Whatever
else happens is no answer: the connection is closed, and the body is scanned again on one of its own.
"""

import asyncio
import re
import socket
import struct
from dataclasses import dataclass

from appliance.domain.clock import Clock
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.instream import ANSWER_LIMIT, COMMAND, END, Answer, parse_answer
from icap.server.scanners.scanner import ScanOutcome

FRESH = 2.0
"""Seconds that a connection may have been idle: clamd closes it after its CommandReadTimeout, 5 by default at the least."""
MOST_USES = 1000
_LINE = re.compile(rb"([0-9]{1,9}): ([^\0]*)\0")


@dataclass(slots=True)
class _Kept:
    sock: socket.socket
    used: int = 0
    since: float = 0.0


class Sessions:
    """The idle connections to one clamd, the one used last first. As many as there were scans at one time."""

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._idle: list[_Kept] = []

    async def scan(self, body: bytes) -> Answer | None:
        """clamd's verdict; None when there is none, for whatever reason. Raises OSError when it cannot be reached."""
        kept = self._take() or _Kept(await self._endpoint.connect())
        answer = None
        try:
            answer = await _ask(kept, body)
        finally:
            if answer is None or kept.used >= MOST_USES:
                kept.sock.close()
            else:
                kept.since = self._clock.monotonic()
                self._idle.append(kept)
        return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop().sock.close()

    def __del__(self) -> None:
        self.close()

    def _take(self) -> _Kept | None:
        while self._idle:
            kept = self._idle.pop()
            if self._clock.monotonic() - kept.since < FRESH and _silent(kept.sock):
                return kept
            kept.sock.close()
        return None


def _silent(sock: socket.socket) -> bool:
    """Neither closed nor with bytes that nobody asked for."""
    try:
        sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


async def _ask(kept: _Kept, body: bytes) -> Answer | None:
    loop = asyncio.get_running_loop()
    opening = b"" if kept.used else b"zIDSESSION\0"
    kept.used += 1
    frame = struct.pack("!L", len(body)) + body if body else b""
    line = b""
    try:
        await loop.sock_sendall(kept.sock, b"".join((opening, COMMAND, frame, END)))
        while not line.endswith(b"\0") and len(line) < ANSWER_LIMIT:
            data = await loop.sock_recv(kept.sock, ANSWER_LIMIT)
            if not data:
                return None
            line += data
    except (BrokenPipeError, ConnectionResetError):
        return None
    match = _LINE.fullmatch(line)
    if match is None or int(match[1]) != kept.used:
        return None
    answer = parse_answer(match[2])
    return answer if answer.outcome is not ScanOutcome.ERROR else None
