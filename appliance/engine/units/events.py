"""Server-sent events (WHATWG HTML, section 9.2.6): one unit for each, with the blank line that ends it."""

import re
from collections.abc import Iterator
from typing import Final

from appliance.engine.messages import Unit
from appliance.engine.units.assembly import Reading

_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"
_DATA: Final = b"data:"


class EventReader(Reading):
    """``data`` of a unit are the values of its data lines, joined with a line feed, as a page gets them; ``flat`` the same
    without; ``beside`` all other lines in their order: names, ids, comments, and what no reader knows.

    A line that is cut by ``flush``, or because it is too long, goes on as what it began as.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._line = bytearray()
        """Of the line that is arriving, what is not in the unit's data yet."""
        self._cut: bytearray | None = None
        """Where the beginning of this line went."""
        self._lines = 0
        self._after_cr = False
        self._first = True

    @property
    def held(self) -> int:
        return super().held + len(self._line)

    def read(self, data: bytes) -> Iterator[Unit]:
        if not data:
            return  # nothing is not what comes behind a CR
        start = 1 if self._after_cr and data[:1] == b"\n" else 0
        self._after_cr = data[-1:] == b"\r"
        self._unit.wire += data[:start]
        for end in _END.finditer(data, start):
            self._line += data[start : end.start()]
            self._unit.wire += data[start : end.end()]
            start = end.end()
            if self._line_over():
                yield self._done()
        self._line += data[start:]
        self._unit.wire += data[start:]
        if self._unit.full or len(self._line) > len(_DATA):
            self._let_line_go()
        yield from self._unit.cut()

    def end(self) -> Iterator[Unit]:
        """An event that is not complete is none to a page; its bytes go on all the same."""
        self._line_over()
        if self._unit.wire:
            yield self._done()

    def flush(self) -> Iterator[Unit]:
        self._let_line_go()
        yield from super().flush()

    def _done(self) -> Unit:
        self._lines = 0
        return self._unit.done()

    def _line_over(self) -> bool:
        """A line has ended. Whether an event ends with it."""
        self._drop_mark()
        if not self._line and self._cut is None:
            return True
        self._let_line_go(whole=True)
        if self._cut is self._unit.beside:
            self._unit.beside += b"\n"
        self._cut = None
        return False

    def _let_line_go(self, *, whole: bool = False) -> None:
        """Put what there is of a line where it belongs, as soon as that is known."""
        line = self._line
        if self._cut is None:
            if not whole and self._undecided():
                return
            self._cut = self._begin(line)
        self._cut += line
        if self._cut is self._unit.data and self._unit.flat is not None:
            self._unit.flat += line
        line.clear()

    def _undecided(self) -> bool:
        """Whether the line may yet become one of data, or lose the mark at its beginning."""
        if self._first and len(self._line) < len(_BOM) and _BOM.startswith(self._line):
            return True
        self._drop_mark()
        return _DATA.startswith(self._line)

    def _drop_mark(self) -> None:
        if self._first:
            self._first = False
            if self._line.startswith(_BOM):
                del self._line[: len(_BOM)]

    def _begin(self, line: bytearray) -> bytearray:
        """What kind of a line it is; of a data line its value is left."""
        unit = self._unit
        if not line.startswith(_DATA) and line != _DATA[:-1]:
            return unit.beside
        del line[: len(_DATA) + (line[len(_DATA) : len(_DATA) + 1] == b" ")]
        if self._lines:
            if unit.flat is None:
                unit.flat = bytearray(unit.data)
            unit.data += b"\n"
        self._lines += 1
        return unit.data
