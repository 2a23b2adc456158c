"""What an examination found."""

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` was examined, what came out, and for anything but OK what to do."""

    level: Level
    what: str
    detail: str
    hint: str = ""


def ok(what: str, detail: str) -> Finding:
    return Finding(Level.OK, what, detail)


def warn(what: str, detail: str, hint: str = "") -> Finding:
    return Finding(Level.WARN, what, detail, hint)


def fail(what: str, detail: str, hint: str = "") -> Finding:
    return Finding(Level.FAIL, what, detail, hint)
