"""The ledger of what was inspected, added up for a reader."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from appliance.domain.coverage import NOT_INSPECTED, Bucket

type By = Literal["host", "user", "tenant", "bucket"]
BY: Final[tuple[str, ...]] = get_args(By.__value__)
ORDERS: Final = ("not_inspected", "bytes", "share")


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of one bucket. ``tasks``: how many had bytes there, counted once for each direction, bucket and why."""

    direction: str
    bucket: str
    why: str
    bytes: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Line:
    """What the ledger has of one host, user or tenant. ``other``: blocked, and the appliance's own pages."""

    name: str
    scanned: int
    not_inspected: int
    other: int
    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        return self.scanned + self.not_inspected + self.other

    @property
    def share(self) -> float | None:
        """Of what could have been inspected, the part that was: 0.0 to 1.0; None when there was nothing."""
        could = self.scanned + self.not_inspected
        return self.scanned / could if could else None

    @property
    def missed(self) -> tuple[Part, ...]:
        """What was not inspected, most bytes first."""
        return tuple(part for part in self.parts if _kind(part.bucket) == "not_inspected")


@dataclass(frozen=True, slots=True)
class Report:
    """``whole`` is everything that was asked for, ``lines`` the parts of it that are shown; ``since`` and ``until`` are seconds
    since the epoch, on full hours."""

    since: int
    until: int
    whole: Line
    lines: tuple[Line, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"since": self.since, "until": self.until, "whole": _as_dict(self.whole), "lines": [*map(_as_dict, self.lines)]}


def line(name: str, parts: Iterable[Part]) -> Line:
    """Add up what is known of one name."""
    sizes = {"scanned": 0, "not_inspected": 0, "other": 0}
    parts = tuple(sorted(parts, key=lambda part: (-part.bytes, part.direction, part.bucket, part.why)))
    for part in parts:
        sizes[_kind(part.bucket)] += part.bytes
    return Line(name, sizes["scanned"], sizes["not_inspected"], sizes["other"], parts)


def lines(parts: Mapping[str, Iterable[Part]], order: str) -> tuple[Line, ...]:
    """One of ORDERS: most bytes that were not inspected first, most bytes first, or the smallest scanned share first."""
    found = [line(name, each) for name, each in parts.items()]
    if order == "share":
        return tuple(
            sorted(found, key=lambda each: (1.0 if each.share is None else each.share, -each.not_inspected, each.name))
        )
    if order == "bytes":
        return tuple(sorted(found, key=lambda each: (-each.bytes, each.name)))
    return tuple(sorted(found, key=lambda each: (-each.not_inspected, -each.bytes, each.name)))


def _kind(bucket: str) -> str:
    if bucket == Bucket.SCANNED.word:
        return "scanned"
    return "not_inspected" if bucket in {each.word for each in NOT_INSPECTED} else "other"


def _as_dict(told: Line) -> dict[str, object]:
    sizes = {"bytes": told.bytes, "scanned": told.scanned, "not_inspected": told.not_inspected, "other": told.other}
    parts = [
        {"direction": part.direction, "bucket": part.bucket, "why": part.why, "bytes": part.bytes, "tasks": part.tasks}
        for part in told.parts
    ]
    return {"name": told.name, **sizes, "share": told.share, "parts": parts}
