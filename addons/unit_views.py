"""What a service is shown of units that came one after the other: each by itself, and what they say together."""

from collections.abc import Callable, Sequence
from typing import Final

from appliance.engine.messages import Unit

_FIELDS: Final = 4096
"""Of one message."""


class Window:
    """The end of what was said so far: ``overlap`` bytes of it."""

    def __init__(self, overlap: int) -> None:
        self._overlap = overlap
        self._tail = b""
        self._last = b""
        """Of the last unit alone: a pattern that must stand at the beginning begins with a unit."""

    def views(self, units: Sequence[Unit], said: Sequence[bytes]) -> dict[bytes, int]:
        """What to show beside each unit itself, and how many of the units may go on when that is infected. ``said``: what
        each of them adds, unpacked."""
        views: dict[bytes, int] = {}
        if self._overlap:
            views[b"".join((self._tail, *said))] = 0
        before = self._last
        for index, each in enumerate(said):
            views.setdefault(before + each, max(0, index - 1))
            views.setdefault(each, index)
            before = each[-self._overlap :] if self._overlap else b""
        beside = b"".join(unit.beside for unit in units)
        if beside:
            joined = next(iter(views), b"")
            del views[joined]
            views[joined + b"\n" + beside] = 0
        views.pop(b"", None)
        return views

    def remember(self, said: Sequence[bytes]) -> None:
        if self._overlap and said:
            self._tail = b"".join((self._tail, *said))[-self._overlap :]
            self._last = said[-1][-self._overlap :]


def as_it_is(data: bytes) -> bytes:
    return data


def of_protobuf(data: bytes) -> bytes:
    """The texts and bytes of a message's fields, one after the other: where a file comes in pieces, each stands behind a tag
    and a length, and a pattern that lies across two pieces would not be found. ``data`` itself, where it is no such message."""
    found: list[bytes] = []
    at = 0
    for _ in range(_FIELDS):
        if at >= len(data):
            return b"".join(found) or data
        step = _field(data, at)
        if step is None:
            return data
        at, value = step
        found.append(value)
    return data


def _field(data: bytes, at: int) -> tuple[int, bytes] | None:
    """Where the next field begins, and the value of this one if it has a length."""
    tag, at = _varint(data, at)
    match tag & 7 if tag >= 8 else -1:
        case 0:
            _, at = _varint(data, at)
        case 1:
            at += 8
        case 5:
            at += 4
        case 2:
            size, at = _varint(data, at)
            return (at + size, data[at : at + size]) if 0 <= size <= len(data) - at else None
        case _:
            return None
    return (at, b"") if at <= len(data) else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number, -1 for none, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        octet = data[at]
        at += 1
        number |= (octet & 127) << shift
        if octet < 128:
            return number, at
    return -1, len(data) + 1


type Say = Callable[[bytes], bytes]
