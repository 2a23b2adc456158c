"""From worker to worker: a ticket's next request may come to any of them, and the one that holds the download is asked over a
unix socket in a folder that nobody else may enter.

The file itself is handed over as a descriptor (SCM_RIGHTS, unix(7)), so it needs no name on disk, is not copied, and is gone
with the last process that has it. One JSON object on a line each way; a connection that took a file says at its end what it
delivered.
"""

import array
import asyncio
import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

from appliance import local_socket
from appliance.patience.download import Download, Opened
from appliance.patience.view import View

logger = logging.getLogger(__name__)

MAX_LINE: Final = 256 * 1024
PATIENCE: Final = 5.0
"""Seconds for an answer: it needs nothing but the other worker's turn."""
_ENDING: Final = ".patience"
_YOUNG: Final = 60.0
_AGAIN: Final = 0.1


class Unreachable(Exception):
    """The worker that holds the download has ended, or does not answer."""


class Counter:
    """The side that is asked. ``find`` knows the downloads."""

    def __init__(self, directory: Path, name: str, find: Callable[[str], Download | None]) -> None:
        self._directory, self.name, self._find = directory, name, find
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Raises OSError: there is no socket to be had."""
        self._sweep()
        self._socket = local_socket.bind(self._directory, self.name + _ENDING)
        self._socket.setblocking(False)
        self._spawn(self._accept(self._socket))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            self._socket.close()
            (self._directory / (self.name + _ENDING)).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what workers that were killed have left."""
        for path in self._directory.glob(f"*{_ENDING}"):
            try:
                if time.time() - path.stat().st_mtime < _YOUNG:
                    continue  # perhaps bound, and not listening yet
                local_socket.connect(self._directory, path.name).close()
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                continue  # busy, or gone

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:  # no descriptor is left, for now
                logger.warning("a question about a download cannot be taken: %s", error)
                await asyncio.sleep(_AGAIN)
                continue
            # closed also when the task is cancelled before it has begun
            self._spawn(self._serve(sock)).add_done_callback(partial(_close, sock))

    async def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            if local_socket.peer_user(sock) == os.geteuid():
                await self._answer(sock)
        except (OSError, ValueError, KeyError, TypeError, TimeoutError) as error:
            logger.warning("a question about a download failed: %s", error)

    async def _answer(self, sock: socket.socket) -> None:
        asked = await _line(sock, PATIENCE)
        if asked is None:
            return
        download = self._find(asked["number"])
        if download is None:
            await _say(sock, {"view": None})
        elif asked["do"] == "look":
            await _say(sock, {"view": download.look().to_json()})
        else:
            await self._hand_over(sock, download)

    async def _hand_over(self, sock: socket.socket, download: Download) -> None:
        opened = download.take()
        if opened is None:
            await _say(sock, {"view": download.look().to_json()})
            return
        try:
            try:
                told = {"size": opened.size, "headers": opened.headers, "etag": opened.etag}
                _send_with(sock, {"file": told}, opened.descriptor)
            finally:
                os.close(opened.descriptor)
            while (said := await _line(sock, None)) is not None:
                kept = _deliver(download, *said["sent"])
                with contextlib.suppress(ConnectionError):  # who left does not wait for an answer
                    await _say(sock, {"kept": kept})
        finally:
            download.back()


def _close(sock: socket.socket, _task: "asyncio.Task[None]") -> None:
    sock.close()


def _deliver(download: Download, start: int, end: int) -> bool:
    try:
        download.sent(int(start), int(end))
    except Exception:
        logger.exception("the record of a download could not be written")
        return False
    return True


class Line:
    """The side that asks the worker called ``owner``. Use as a context manager; it may be kept open for a delivery."""

    def __init__(self, directory: Path, owner: str) -> None:
        self._directory, self._owner = directory, owner
        self._sock: socket.socket | None = None

    async def look(self, number: str) -> View | None:
        """None: it knows nothing of it. Raises Unreachable."""
        answer, _ = await self._ask({"do": "look", "number": number})
        return _view(answer)

    async def take(self, number: str) -> Opened | View | None:
        """The file; or why there is none. Raises Unreachable."""
        answer, descriptor = await self._ask({"do": "take", "number": number})
        told = answer.get("file")
        if told is None or descriptor < 0:
            return _view(answer)
        headers = tuple((str(name), str(value)) for name, value in told["headers"])
        return Opened(descriptor, int(told["size"]), headers, str(told["etag"]))

    async def sent(self, start: int, end: int) -> None:
        """What a delivery has brought to the client. Raises Unreachable, also when it could not be recorded."""
        answer, _ = await self._ask({"sent": [start, end]})
        if not answer.get("kept"):
            raise Unreachable("the delivery could not be recorded")

    def leave(self, start: int, end: int) -> None:
        """Tell the same of a delivery that was broken off, without waiting for anything, and close."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.send(_bytes({"sent": [start, end]}))
        self.close()

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    async def _ask(self, question: dict[str, Any]) -> tuple[dict[str, Any], int]:
        try:
            if self._sock is None:
                self._sock = local_socket.connect(self._directory, self._owner + _ENDING)
            await _say(self._sock, question)
            answer, descriptor = await asyncio.wait_for(_answer_of(self._sock), PATIENCE)
        except (OSError, ValueError, TimeoutError) as error:
            raise Unreachable(str(error)) from error
        if answer is None:
            raise Unreachable("no answer")
        return answer, descriptor


def _view(answer: dict[str, Any]) -> View | None:
    try:
        return View.from_json(answer["view"]) if answer.get("view") is not None else None
    except (ValueError, KeyError, TypeError) as error:
        raise Unreachable(str(error)) from error


# -- lines over a socket --------------------------------------------------------------------------------------------------


async def _say(sock: socket.socket, value: dict[str, Any]) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, _bytes(value))


def _bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _send_with(sock: socket.socket, value: dict[str, Any], descriptor: int) -> None:
    """The first line of an answer, which finds an empty buffer. Raises OSError."""
    data = _bytes(value)
    if socket.send_fds(sock, [data], [descriptor]) != len(data):
        raise OSError("the answer does not fit")


async def _line(sock: socket.socket, seconds: float | None) -> dict[str, Any] | None:
    """None at the end. Raises ValueError: not an object on a line."""
    async with asyncio.timeout(seconds):
        data = b""
        while not data.endswith(b"\n"):
            more = await asyncio.get_running_loop().sock_recv(sock, MAX_LINE)
            if not more:
                return None
            data += more
            if len(data) > MAX_LINE:
                raise ValueError("a line that is too long")
    return _object(data)


async def _answer_of(sock: socket.socket) -> tuple[dict[str, Any] | None, int]:
    """An object and the descriptor that came with it, or -1."""
    data, descriptor = b"", -1
    try:
        while not data.endswith(b"\n"):
            await _readable(sock)
            more, ancillary, _, _ = sock.recvmsg(MAX_LINE, socket.CMSG_SPACE(array.array("i", [0]).itemsize))
            descriptor = max(descriptor, *_descriptors(ancillary), -1)
            data += more
            if not more or len(data) > MAX_LINE:
                raise ValueError("no answer")
        return _object(data), descriptor
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
        raise


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    for each in found:
        os.set_inheritable(each, False)
    return [-1, *found]


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        with contextlib.suppress(OSError, ValueError):
            loop.remove_reader(sock.fileno())


def _object(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
