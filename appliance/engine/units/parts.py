"""The parts of multipart/x-mixed-replace (RFC 2046 section 5.1): pictures of a camera, pages that replace each other."""

import re
from collections.abc import Iterator
from typing import Final

from appliance.engine.messages import Unit
from appliance.engine.units.assembly import Reading

_HEAD_END: Final = re.compile(rb"\n\r?\n")
_LENGTH: Final = re.compile(rb"(?im)^content-length:[ \t]*([0-9]{1,10})[ \t]*\r?$")
_MAX_HEAD: Final = 16 * 1024


class PartReader(Reading):
    """A unit begins with its delimiter, and ends where the next one begins, or where its Content-Length says so: the picture
    that is there should not wait for the next. ``data`` is a part's body, ``beside`` its delimiter and head."""

    def __init__(self, boundary: bytes, limit: int) -> None:
        """``boundary``: of the media type, not empty. Some servers count the dashes before it as its own."""
        spelt = {b"--" + boundary} | ({boundary} if boundary.startswith(b"--") else set())
        self._delimiter = re.compile(rb"(?<=\n)(?:" + b"|".join(map(re.escape, sorted(spelt))) + rb")")
        self._longest = max(map(len, spelt))
        super().__init__(limit)
        self._last = b"\n"
        """The octet before what waits: a delimiter begins a line."""
        self._waiting = bytearray()
        """Not looked at yet, or perhaps the beginning of a delimiter."""
        self._in_head = False
        self._left: int | None = None

    @property
    def held(self) -> int:
        return super().held + len(self._waiting)

    def give_up(self) -> None:
        self._take(len(self._waiting), self._unit.data)
        self._in_head = False
        super().give_up()

    def read(self, data: bytes) -> Iterator[Unit]:
        self._waiting += data
        before = None
        while before != (before := (len(self._waiting), self._in_head, self._left)):
            if self._in_head:
                self._head()
            elif self._left is not None:
                yield from self._announced(self._left)
            else:
                yield from self._body()
        yield from self._unit.cut()

    def end(self) -> Iterator[Unit]:
        self._take(len(self._waiting), self._unit.beside if self._in_head else self._unit.data)
        yield from self._done()

    def flush(self) -> Iterator[Unit]:
        """What waits may be the beginning of a delimiter."""
        yield from ()

    def _head(self) -> None:
        end = _HEAD_END.search(self._waiting)
        if end is None and len(self._waiting) <= _MAX_HEAD:
            return
        size = end.end() if end is not None else len(self._waiting) - self._longest
        length = _LENGTH.search(self._waiting, 0, size)
        self._left = int(length[1]) if length is not None else None
        self._in_head = False
        self._take(size, self._unit.beside)

    def _announced(self, left: int) -> Iterator[Unit]:
        self._left = left - self._take(min(left, len(self._waiting)), self._unit.data)
        if not self._left:
            self._left = None
            yield from self._done()

    def _body(self) -> Iterator[Unit]:
        found = self._delimiter.search(self._last + self._waiting)
        if found is None:
            self._take(max(0, len(self._waiting) - self._longest), self._unit.data)
            return
        self._take(found.start() - 1, self._unit.data)
        yield from self._done()
        self._in_head = True

    def _take(self, size: int, where: bytearray) -> int:
        taken = self._waiting[:size]
        del self._waiting[:size]
        self._unit.wire += taken
        where += taken
        self._last = bytes(taken[-1:]) or self._last
        return len(taken)

    def _done(self) -> Iterator[Unit]:
        if not self._unit.data.strip(b"\r\n"):
            self._unit.data.clear()  # what stands between two parts
        if self._unit.wire:
            yield self._unit.done()
