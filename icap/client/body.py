"""A body that is read while it is still arriving.

One side feeds it, any number of readers follow, each from an offset of its own and at its own pace; a reader that comes
late, or again (a retry), gets the same bytes. It lies in memory up to its budget and in a file without a name above it.
"""

import asyncio
import io
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import BinaryIO, Self

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.client.room import Room

PIECE = 256 * 1024
"""Bytes that a reader gets at once, at most."""
WINDOW = 4 * 1024 * 1024
"""How far the feeder may be ahead of the slowest reader before it should wait."""


class Body:
    """Use within one event loop. ``close`` gives the memory and the file back; until then every byte can be read again.

    ``feed`` never waits: where ``pressed`` holds after it, the feeder should await ``relieved`` before it reads on.
    """

    def __init__(self, room: Room | None = None, *, window: int = WINDOW) -> None:
        self.size = 0
        self.ended = False
        """No byte follows: the body is complete."""
        self.error: ScanError | None = None
        """Why no byte follows, although the body is not complete."""
        self._room = room if room is not None else Room()
        self._window = window
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._hash = sha256()
        self._readers: list[Reader] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._closed = False
        self._awaited = 0
        """How many wait for an amount: they must not be kept waiting by back-pressure."""
        self._untouched = True
        """No reader has come yet: the first will begin at the start."""

    # -- the feeder's side ---------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Append. What comes after ``close`` or ``abort`` is dropped.

        Raises:
            ScanError: RESOURCE_EXHAUSTED, no room; the body is then aborted with it.
        """
        if self._closed or self.error is not None or not data:
            return
        try:
            self._store(data)
        except ScanError as error:
            self.abort(error)
            raise
        self._hash.update(data)
        self.size += len(data)
        self._wake()

    def end(self) -> None:
        """The body is complete."""
        if self.error is None:
            self.ended = True
            self._wake()

    def abort(self, error: ScanError) -> None:
        """The body will not become complete: readers get ``error`` when they have read what is there."""
        if not self.ended and self.error is None:
            self.error = error
            self._wake()

    @property
    def pressed(self) -> bool:
        """The slowest reader, or the first to come, is more than a window behind, and nobody waits for more than that."""
        if self._awaited or not (self._readers or self._untouched):
            return False
        return self.size - min([reader.at for reader in self._readers], default=0) > self._window

    async def relieved(self) -> None:
        """Wait until the body is not ``pressed``."""
        while self.pressed and not self._closed:
            await self._wait()

    # -- the readers' side ---------------------------------------------------------------------------------------------

    @property
    def sha256(self) -> str:
        """Of the bytes so far, in hex; of the body once it has ``ended``."""
        return self._hash.hexdigest()

    @property
    def spilled(self) -> bool:
        """It lies in a file."""
        return self._file is not None

    def read(self, offset: int, size: int) -> bytes:
        """At most ``size`` of the bytes that are there; empty where there are none."""
        if self._closed:
            raise ValueError("the body was closed")
        if self._file is not None:
            return os.pread(self._file.fileno(), size, offset)
        with memoryview(self._memory) as view:
            return bytes(view[offset : offset + size])

    def reader(self, offset: int = 0) -> "Reader":
        """A reader that counts for ``pressed`` until it is closed; use it as a context manager."""
        return Reader(self, offset)

    async def pieces(self, offset: int = 0) -> AsyncIterator[bytes]:
        """Every byte from ``offset`` to the end, as they come. Raises what the body was aborted with."""
        with self.reader(offset) as reader:
            while piece := await reader.next():
                yield piece

    async def available(self, size: int) -> int:
        """Wait for ``size`` bytes, or the end; returns how many there are. Raises what the body was aborted with."""
        self._awaited += 1
        self._wake()
        try:
            while self.size < size and not self.ended:
                self._check()
                await self._wait()
        finally:
            self._awaited -= 1
        return self.size

    async def complete(self) -> int:
        """Wait for the end; returns the size. Raises what the body was aborted with."""
        return await self.available(sys.maxsize)

    def copy(self) -> BinaryIO:
        """Its bytes, for another thread and for after ``close``: a copy of what is in memory, a second handle of the file. Call
        it when the body has ended; the copy is the caller's to close. Raises OSError."""
        if self._file is None:
            return io.BytesIO(bytes(self._memory))
        handle = os.fdopen(os.dup(self._file.fileno()), "rb")
        handle.seek(0)  # shared with ``_file``, which nobody writes any more and which is read by offset
        return handle

    def another(self) -> "Body":
        """An empty body on the same budget."""
        return Body(self._room, window=self._window)

    def close(self) -> None:
        """Give memory and file back. Readers that wait get an error."""
        if self._closed:
            return
        self.abort(ScanError(Reason.ICAP_ERROR, "the body was given up"))
        self._closed = True
        if self._file is None:
            self._room.give_back(len(self._memory), 0)
        else:
            self._room.give_back(0, self.size)
            self._file.close()
        self._memory = bytearray()
        self._wake()

    def __del__(self) -> None:
        self.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _store(self, data: bytes) -> None:
        if self._file is None:
            if self._room.take_memory(len(data), self.size):
                self._memory += data
                return
            self._spill()
        self._room.take_disk(len(data))
        try:
            self._write(data)
        except OSError as error:
            self._room.give_back(0, len(data))
            raise ScanError(Reason.RESOURCE_EXHAUSTED, f"writing a body: {error.strerror}") from error

    def _spill(self) -> None:
        """Move what is in memory to a file."""
        self._room.take_disk(self.size)
        try:
            self._file = tempfile.TemporaryFile(dir=self._room.directory, buffering=0)  # noqa: SIM115 - ``close`` closes it
            self._write(bytes(self._memory))
        except OSError as error:
            self._file = None
            self._room.give_back(0, self.size)
            raise ScanError(Reason.RESOURCE_EXHAUSTED, f"no file for a body: {error.strerror}") from error
        self._room.give_back(len(self._memory), 0)
        self._room.went_to_disk()
        self._memory = bytearray()

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left and self._file is not None:
            left = left[self._file.write(left) :]

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Reader:
    """One pass over a body. ``at``: how far it has come."""

    def __init__(self, body: Body, offset: int) -> None:
        self.at = offset
        self._body = body
        body._untouched = False
        body._readers.append(self)

    @property
    def starved(self) -> bool:
        """Nothing to read yet, and the body goes on."""
        body = self._body
        return self.at >= body.size and not body.ended and body.error is None

    async def next(self) -> bytes:
        """The next bytes, waited for; empty at the end. Raises what the body was aborted with, after its last byte."""
        body = self._body
        while self.starved:
            await body._wait()
        if self.at >= body.size:
            body._check()
            return b""
        piece = body.read(self.at, PIECE)
        self.at += len(piece)
        body._wake()
        return piece

    def close(self) -> None:
        """It no longer holds the feeder back."""
        if self in self._body._readers:
            self._body._readers.remove(self)
            self._body._wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def length_of(body: bytes | Body | None) -> int:
    """Bytes that are there."""
    return body.size if isinstance(body, Body) else len(body or b"")


def same_content(one: bytes | Body | None, other: bytes | Body | None) -> bool:
    """Whether two bodies have the same bytes. One that is still arriving is not the same as anything."""
    if not all(each.ended for each in (one, other) if isinstance(each, Body)):
        return False
    if length_of(one) != length_of(other):
        return False
    if isinstance(one, Body) or isinstance(other, Body):
        return _digest(one) == _digest(other)
    return (one or b"") == (other or b"")


def _digest(body: bytes | Body | None) -> str:
    return body.sha256 if isinstance(body, Body) else sha256(body or b"").hexdigest()
