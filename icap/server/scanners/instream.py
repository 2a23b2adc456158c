"""clamd's INSTREAM command: one body over one connection, one line back (clamd(8), "INSTREAM").

Raw sockets, not streams: when clamd has had enough it answers and closes while we still send. A stream transport that
meets EPIPE drops what it had not read yet, and the answer is exactly there.
"""

import asyncio
import re
import socket
import struct
from dataclasses import dataclass

from appliance.domain.reason import Reason
from icap.server.scanners.scanner import ScanOutcome

FRAME = 64 * 1024
"""Bytes per frame. 1 KiB frames, as the PyPI client sends them, cost a third of the throughput at 1 MiB."""
WHOLE = 256 * 1024
"""Bytes of the first frame, at the most. A body that is not longer is here whole before clamd is asked."""
COMMAND = b"zINSTREAM\0"
END = b"\0\0\0\0"
ANSWER_LIMIT = 4096

_FOUND = re.compile(rb"stream: ([!-~][ -~]{0,254}) FOUND")


@dataclass(frozen=True, slots=True)
class Answer:
    outcome: ScanOutcome
    signature: str = ""
    reason: Reason = Reason.OK
    detail: str = ""


def parse_answer(line: bytes) -> Answer:
    """clamd's line without its terminator. Anything but an exact OK or FOUND is an error, nothing at all included."""
    if line == b"stream: OK":
        return Answer(ScanOutcome.CLEAN)
    found = _FOUND.fullmatch(line)
    if found:
        return Answer(ScanOutcome.INFECTED, signature=found[1].decode("ascii"))
    return _error(line)


def _error(line: bytes) -> Answer:
    text = line[:200].decode("ascii", "backslashreplace")
    if b"size limit exceeded" in line:
        return Answer(ScanOutcome.ERROR, reason=Reason.BODY_TOO_LARGE, detail=text)
    if b"TIMED OUT" in line:
        return Answer(ScanOutcome.ERROR, reason=Reason.SCANNER_TIMEOUT, detail=text)
    return Answer(ScanOutcome.ERROR, reason=Reason.SCANNER_ERROR, detail=text or "closed without an answer")


class Instream:
    """One INSTREAM conversation on a connected socket. ``await send(...)`` any number of times, then ``await finish()``."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._pending = COMMAND
        self._complete = False
        self._answer = asyncio.ensure_future(self._read())
        # An answer before the end means that clamd reads no further: wake a sender that waits for room.
        self._answer.add_done_callback(lambda _: self._stop_sending())

    @property
    def answered(self) -> bool:
        """clamd has said what it had to say, or is gone: nothing more needs to be sent."""
        return self._answer.done()

    async def send(self, data: bytes) -> None:
        """One frame; ``data`` is not empty and at most WHOLE long. A peer that is gone is not an error here."""
        await self._write(b"".join((self._pending, struct.pack("!L", len(data)), data)))
        self._pending = b""

    async def finish(self, data: bytes = b"") -> Answer:
        """The last frame, the end mark, and clamd's verdict."""
        head = struct.pack("!L", len(data)) if data else b""
        self._complete = await self._write(b"".join((self._pending, head, data, END)))
        return await self.answer()

    async def answer(self) -> Answer:
        """clamd's answer as it stands. A verdict on less than the whole body is an error, whatever it says."""
        try:
            answer = parse_answer(await self._answer)
        except OSError as error:
            return Answer(ScanOutcome.ERROR, reason=Reason.SCANNER_ERROR, detail=f"reading the answer: {error}")
        if answer.outcome is ScanOutcome.ERROR or self._complete:
            return answer
        return Answer(ScanOutcome.ERROR, reason=Reason.SCANNER_ERROR, detail="answered before the end of the body")

    def close(self) -> None:
        self._answer.cancel()
        self._sock.close()

    async def _write(self, data: bytes) -> bool:
        """Whether all of it went out. When not, the answer, if there is one, is still to be read."""
        if self._answer.done():
            return False
        try:
            await self._loop.sock_sendall(self._sock, data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    async def _read(self) -> bytes:
        line = b""
        while len(line) <= ANSWER_LIMIT:
            data = await self._loop.sock_recv(self._sock, ANSWER_LIMIT)
            line += data
            # NUL ends an answer to a z-command; clamd's own timeouts end with a newline all the same
            end = re.search(rb"[\0\n]", line)
            if end:
                return line[: end.start()]
            if not data:
                return b""  # a line that was cut off is not an answer
        return b""

    def _stop_sending(self) -> None:
        try:
            # Both ways: a unix socket of which only the writing side is shut does not wake its waiting writer.
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # gone already
