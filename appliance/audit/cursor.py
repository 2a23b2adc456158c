"""How far a sink has come in each segment: a small file, a line for each step; the last whole one counts.

Adding a line costs a twentieth of replacing the file, which is done when it has grown. A line that was not finished leaves the
one before it.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from appliance.audit.sinks.base import State

LONG: Final = 64 * 1024
"""Bytes above which the file begins anew."""


@dataclass(slots=True)
class Cursor:
    """Offsets by segment name, and the sink's own state. Where there is a state, what ``save`` wrote survives a loss of power.

    A sink without one knows by itself what it has: after a loss of power, an older cursor, or none, offers it that again.
    """

    path: Path
    offsets: dict[str, int] = field(default_factory=dict)
    state: State = field(default_factory=dict)
    size: int = 0
    """Bytes of the file; 0: not written yet by this one, which replaces whatever is there."""

    @classmethod
    def load(cls, path: Path) -> "Cursor":
        """The saved cursor; a fresh one when there is none.

        Raises:
            OSError, ValueError: there is one, and it cannot be read.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return cls(path)
        for line in reversed(content.splitlines()):
            if (found := _read(line)) is not None:
                return cls(path, *found)
        raise ValueError("no line of it is a cursor")

    def save(self) -> None:
        line = json.dumps({"offsets": self.offsets, "state": self.state}, separators=(",", ":")).encode() + b"\n"
        if 0 < self.size < LONG and self._added(line):
            self.size += len(line)
        else:
            self._replace(line)
            self.size = len(line)

    def _added(self, line: bytes) -> bool:
        """False when the file is gone."""
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if os.write(fd, line) != len(line):
                return False
            if self.state:
                os.fdatasync(fd)
        finally:
            os.close(fd)
        return True

    def _replace(self, line: bytes) -> None:
        temporary = self.path.with_suffix(".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


def _read(line: bytes) -> tuple[dict[str, int], State] | None:
    """None for what is no cursor."""
    try:
        data = json.loads(line)
        return {str(name): int(offset) for name, offset in data["offsets"].items()}, dict(data["state"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
