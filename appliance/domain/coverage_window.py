"""The last minutes of coverage, by tenant: how much was scanned, and how much passed unscanned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appliance.domain.coverage import Bucket, parse

SLOTS: Final = 60
"""What is forgotten at once: a window is right to within a sixtieth of itself."""
_RELAYED: Final = frozenset({Bucket.SPLICED, Bucket.UNDECRYPTABLE})


@dataclass(frozen=True, slots=True)
class Seen:
    """Bytes of one tenant within the window."""

    scanned: int
    unscanned: int

    @property
    def share(self) -> float:
        """Of both, what was not scanned: 0.0 to 1.0."""
        return self.unscanned / (self.scanned + self.unscanned) if self.unscanned else 0.0


class CoverageWindow:
    """``seconds`` long. ``relayed``: what was never decrypted counts as unscanned; else it does not count."""

    def __init__(self, seconds: float, *, relayed: bool) -> None:
        self._slot = seconds / SLOTS
        self._relayed = relayed
        self._slots: dict[int, dict[str, list[int]]] = {}

    def add(self, tenant: str, at: float, sizes: Mapping[str, object], now: float) -> None:
        """One event's ``coverage``; ``at``: when it was, ``now``: seconds since the epoch. What is older than the window, or is
        no count, is passed over."""
        self._forget(now)
        number = int(at / self._slot)
        if not self._first(now) <= number <= int(now / self._slot) + SLOTS:
            return
        for name, size in sizes.items():
            if type(size) is int and size > 0 and (index := self._index(name)) is not None:
                self._slots.setdefault(number, {}).setdefault(tenant, [0, 0])[index] += size

    def seen(self, now: float) -> dict[str, Seen]:
        self._forget(now)
        sums: dict[str, list[int]] = {}
        for slot in self._slots.values():
            for tenant, (scanned, unscanned) in slot.items():
                found = sums.setdefault(tenant, [0, 0])
                found[0] += scanned
                found[1] += unscanned
        return {tenant: Seen(*found) for tenant, found in sums.items()}

    def _index(self, name: str) -> int | None:
        try:
            _, bucket, _ = parse(name)
        except (ValueError, StopIteration):
            return None
        if bucket is Bucket.SCANNED:
            return 0
        return 1 if bucket is Bucket.NOT_SCANNED or (self._relayed and bucket in _RELAYED) else None

    def _first(self, now: float) -> int:
        return int(now / self._slot) - SLOTS + 1

    def _forget(self, now: float) -> None:
        first = self._first(now)
        for number in [each for each in self._slots if each < first]:
            del self._slots[number]
