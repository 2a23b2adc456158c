"""What every reader of units must hold to, whatever bytes it gets and however they are cut: driven by hypothesis, by the seeds
in ``corpus``, and by atheris (``scripts/fuzz``)."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from appliance.engine.messages import Unit, UnitReader
from appliance.engine.units.envelopes import EnvelopeReader
from appliance.engine.units.events import EventReader
from appliance.engine.units.lines import LineReader
from appliance.engine.units.parts import PartReader
from appliance.engine.units.pauses import PauseReader

CORPUS = Path(__file__).parent / "corpus"
LARGE, SMALL = 1 << 20, 64
BOUNDARY = b"cut"

READERS: dict[str, Callable[[int], UnitReader]] = {
    "events": EventReader,
    "lines": LineReader,
    "envelopes": EnvelopeReader,
    "parts": lambda limit: PartReader(BOUNDARY, limit),
    "pauses": PauseReader,
}
_AROUND = {"parts": 17 * 1024}
"""Bytes that a reader may hold beside its unit: the head of a part."""


def cut(data: bytes, seed: int = 0) -> list[bytes]:
    """The same bytes always in the same pieces, small ones and large ones."""
    dice, pieces = random.Random(data + bytes([seed])), []
    while data:
        size = dice.choice((1, 2, 3, 17, len(data)))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def units(reader: UnitReader, pieces: Iterable[bytes], *, flush: bool = False) -> list[Unit]:
    found: list[Unit] = []
    for piece in pieces:
        found += reader.read(piece)
        if flush:
            found += reader.flush()
    return found + list(reader.end())


def _shown(found: Iterable[Unit]) -> list[tuple[bytes, bytes | None, bytes, bool]]:
    """Without what holds nothing: the line feed of a CR LF may come when the event has gone on."""
    shown = [(each.data or b"", each.flat, each.beside, each.packed) for each in found]
    return [each for each in shown if each[0] or each[2]]


def check(name: str, data: bytes) -> None:
    """Every byte goes on once, in order. Within the limit, how it arrives changes nothing of what is shown."""
    make, pieces = READERS[name], cut(data)
    whole, split = units(make(LARGE), [data]), units(make(LARGE), pieces)
    for found in (whole, split, units(make(SMALL), pieces), units(make(SMALL), pieces, flush=True)):
        assert b"".join(unit.wire for unit in found) == data
    if name in ("lines", "pauses"):
        assert b"".join(unit.data or b"" for unit in whole) == b"".join(unit.data or b"" for unit in split) == data
    else:
        assert _shown(whole) == _shown(split)
    assert all(unit.whole and not unit.rest for unit in whole + split)
    _limited(name, pieces)


def _limited(name: str, pieces: list[bytes]) -> None:
    """What is larger than the limit is let go as what it is, and of what is held there is never much more."""
    reader = READERS[name](SMALL)
    for piece in pieces:
        for unit in reader.read(piece):
            assert unit.rest or not unit.whole or max(len(unit.data or b""), len(unit.beside)) <= SMALL
        assert reader.held <= 4 * (SMALL + 1024) + _AROUND.get(name, 0)


TARGETS: dict[str, Callable[[bytes], None]] = {
    name: (lambda data, name=name: check(name, data))
    for name in READERS  # type: ignore[misc]
}
