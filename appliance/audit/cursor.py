"""How far a sink has come in each segment: a small file, replaced whole."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from appliance.audit.sinks.base import State


@dataclass(slots=True)
class Cursor:
    """Offsets by segment name, and the sink's own state. What ``save`` wrote survives a loss of power."""

    path: Path
    offsets: dict[str, int] = field(default_factory=dict)
    state: State = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Cursor":
        """The saved cursor; a fresh one when there is none.

        Raises:
            OSError, ValueError: there is one, and it cannot be read.
        """
        try:
            data = json.loads(path.read_bytes())
        except FileNotFoundError:
            return cls(path)
        return cls(path, {str(name): int(offset) for name, offset in data["offsets"].items()}, dict(data["state"]))

    def keep(self, names: set[str]) -> None:
        """Forget segments that are gone."""
        self.offsets = {name: offset for name, offset in self.offsets.items() if name in names}

    def save(self) -> None:
        temporary = self.path.with_suffix(".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(json.dumps({"offsets": self.offsets, "state": self.state}).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
