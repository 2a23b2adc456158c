"""Streams of text: one that holds what no text holds is a file under a false name."""

from collections.abc import Iterator
from dataclasses import replace

from appliance.engine.messages import Unit, UnitReader

_WHY = "a stream of text with a zero octet in it"


class TextReader:
    """The units of ``inner``. Whoever keeps the body has the file that it is, while scanners would see a piece at a time.

    Programs, archives, and text in UTF-16 have zero octets; JSON has none (RFC 8259 section 7), and events of a page neither.
    """

    def __init__(self, inner: UnitReader) -> None:
        self._inner = inner

    @property
    def held(self) -> int:
        return self._inner.held

    def give_up(self) -> None:
        self._inner.give_up()

    def read(self, data: bytes) -> Iterator[Unit]:
        return map(_of_text, self._inner.read(data))

    def end(self) -> Iterator[Unit]:
        return map(_of_text, self._inner.end())

    def flush(self) -> Iterator[Unit]:
        return map(_of_text, self._inner.flush())


def _of_text(unit: Unit) -> Unit:
    return replace(unit, broken=_WHY) if b"\0" in unit.wire and not unit.rest else unit
