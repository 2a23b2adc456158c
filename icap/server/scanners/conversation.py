"""One kept connection to clamd (IDSESSION, clamd(8)): questions are numbered, and there is one at a time."""

import asyncio
import os
import re
import socket
import struct
from array import array
from collections.abc import Callable

from icap.server.scanners.instream import ANSWER_LIMIT, COMMAND, END, WHOLE, Answer, parse_answer
from icap.server.scanners.scanner import ScanOutcome
from icap.server.scanners.sealed import sealed

_NUMBERED = re.compile(rb"([0-9]{1,9}): ([^\0]*)\0")
_OF_FILE = re.compile(rb"fd\[[0-9]{1,9}\](: .*)", re.DOTALL)
_BY_FILE = b"zFILDES\0" + b"\0"  # the command, and the byte that goes with the descriptor
_LONGEST = bytes(WHOLE)


class Conversation:
    """``sock`` is connected, and closed by ``close``. Anything that is not the answer to the question closes it as well."""

    def __init__(self, sock: socket.socket) -> None:
        self.used = 0
        """Questions so far; clamd gives the answer the number of its question."""
        self.since = 0.0
        """When it was idle first."""
        self.takes_files = False
        """``try_files`` has found that bodies may be passed as files."""
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._line = b""
        self._told: Callable[[bytes], None] | None = None
        self._open = True
        # for as long as it is open: to have the loop watch it anew for each answer costs two calls of the kernel
        self._loop.add_reader(sock, self._readable)

    def __del__(self) -> None:
        self._sock.close()

    @property
    def silent(self) -> bool:
        """Neither closed nor with bytes that nobody asked for."""
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return self._open
        except OSError:
            return False
        return False

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._end(b"")

    async def scan(self, body: bytes) -> Answer | None:
        """clamd's verdict, with ``body`` in the stream; None when there is none."""
        opening = b"" if self.used else b"zIDSESSION\0"
        return _of_stream(await self._ask(opening + _question(body)))

    async def try_files(self) -> None:
        """clamd has no limit of its own for files, but one for all that it looks at (MaxFileSize), and beyond it calls them
        clean where its configuration says so. Only a clamd that takes streams as long as our files is given any."""
        answer = await self.scan(_LONGEST)
        self.takes_files = answer is not None and answer.outcome is ScanOutcome.CLEAN

    async def scan_file(self, body: bytes) -> Answer | None:
        """The same as ``scan`` with ``body`` as a file, which saves clamd one of its own. Raises OSError without one."""
        descriptor = sealed(body)
        try:
            line = await self._ask(_BY_FILE, descriptor)
        finally:
            os.close(descriptor)
        return _of_file(line)

    def begin(self, body: bytes, told: Callable[[Answer | None], None], *, by_file: bool) -> None:
        """``scan`` or ``scan_file`` of a body that fits one write. ``told`` is called once, in here when it cannot be sent.
        Raises OSError when there is no file; ``close`` it then."""
        if not by_file:
            self._begin(_question(body), None, lambda line: told(_of_stream(self._numbered(line))))
            return
        descriptor = sealed(body)
        try:
            self._begin(_BY_FILE, descriptor, lambda line: told(_of_file(self._numbered(line))))
        finally:
            os.close(descriptor)

    def _begin(self, question: bytes, descriptor: int | None, told: Callable[[bytes], None]) -> None:
        self._expect(told)
        if not self._open:
            self._end(b"")
        elif self._put(question, descriptor) < len(question):
            self.close()

    async def _ask(self, question: bytes, descriptor: int | None = None) -> bytes | None:
        """The line that has the number of this question, without it."""
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._expect(lambda line: None if answer.done() else answer.set_result(line))
        if self._open:
            await self._send(question, descriptor)
        return self._numbered(await answer)

    def _expect(self, told: Callable[[bytes], None]) -> None:
        self.used += 1
        self._line = b""
        self._told = told

    def _numbered(self, line: bytes) -> bytes | None:
        match = _NUMBERED.fullmatch(line)
        return match[2] if match is not None and int(match[1]) == self.used else None

    async def _send(self, data: bytes, descriptor: int | None) -> None:
        sent = self._put(data, descriptor)
        if sent < len(data) and self._open:
            try:
                await self._loop.sock_sendall(self._sock, memoryview(data)[sent:])
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                self.close()

    def _put(self, data: bytes, descriptor: int | None) -> int:
        """How many bytes were sent; it is closed when it takes none."""
        try:
            if descriptor is None:
                return self._sock.send(data)
            return self._sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [descriptor]))])
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            self.close()  # full before anything was said: what is in front of this question is nothing of ours
            return 0

    def _readable(self) -> None:
        try:
            data = self._sock.recv(ANSWER_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._line += data
        if not data or self._told is None or len(self._line) > ANSWER_LIMIT:
            self.close()
        elif self._line.endswith(b"\0"):
            self._end(self._line)

    def _end(self, line: bytes) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(line)


def _question(body: bytes) -> bytes:
    frame = (struct.pack("!L", len(body)), body) if body else ()
    return b"".join((COMMAND, *frame, END))


def _of_stream(line: bytes | None) -> Answer | None:
    return None if line is None else _verdict(line)


def _of_file(line: bytes | None) -> Answer | None:
    match = _OF_FILE.fullmatch(line or b"")
    return _verdict(b"stream" + match[1]) if match is not None else None


def _verdict(line: bytes) -> Answer | None:
    answer = parse_answer(line)
    return answer if answer.outcome is not ScanOutcome.ERROR else None
