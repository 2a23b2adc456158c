"""Kept verdicts that count no more, because the body was found bad since: told to the workers in a small file."""

import json
from pathlib import Path
from typing import Final

from appliance.domain.retro import RetroError, digest
from appliance.files import write_whole
from appliance.watched import Watched

MAX_ENTRIES: Final = 10_000
MAX_BYTES: Final = 2 * 1024 * 1024
MEMORY: Final = 86_400.0
"""Seconds: no verdict is kept for longer (``verdict_cache.ttl``)."""


class Recalled:
    """In a worker: of which body verdicts must be newer than what moment."""

    def __init__(self, path: Path) -> None:
        self.file: Watched[dict[str, float]] = Watched(path, parse, {}, MAX_BYTES)

    def since(self, sha256: str) -> float:
        """Seconds since the epoch; verdicts up to then count no more. 0: all do."""
        return self.file.value.get(sha256, 0.0)


def parse(data: bytes) -> dict[str, float]:
    """Raises ValueError for what is not ours."""
    try:
        found = json.loads(data)
        return {digest(sha256): float(at) for sha256, at in found.items()}
    except (AttributeError, TypeError, RecursionError, RetroError) as error:
        raise ValueError(f"not a list of hashes: {error}") from error


class RecalledWriter:
    """In the admin process: writes the file when it says something else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: dict[str, float] | None = None

    def write(self, found: dict[str, float]) -> None:
        """Raises OSError; then it is tried again with the next call."""
        if found != self._written:
            write_whole(self._path, json.dumps(found).encode(), durable=False)
            self._written = found
