"""Kept verdicts that count no more, because the body was found bad since: told to the workers in a small file."""

import json
from pathlib import Path
from typing import Final

from appliance.domain.retro import RetroError, digest
from appliance.files import write_whole
from appliance.watched import Watched

MAX_ENTRIES: Final = 10_000
EVERY: Final = "*"
"""Stands for every body, where there are more than can be listed."""
MAX_BYTES: Final = 2 * 1024 * 1024
MEMORY: Final = 86_400.0
"""Seconds: no verdict is kept for longer (``verdict_cache.ttl``)."""


class Recalled:
    """In a worker: of which body verdicts must be newer than what moment."""

    def __init__(self, path: Path) -> None:
        self.file: Watched[dict[str, float]] = Watched(path, parse, {}, MAX_BYTES)

    def since(self, sha256: str) -> float:
        """Seconds since the epoch; verdicts up to then count no more. 0: all do."""
        known = self.file.value
        return max(known.get(sha256, 0.0), known.get(EVERY, 0.0))


def parse(data: bytes) -> dict[str, float]:
    """Raises ValueError for what is not ours."""
    try:
        found = json.loads(data)
        return {each if each == EVERY else digest(each): float(at) for each, at in found.items()}
    except (AttributeError, TypeError, RecursionError, RetroError) as error:
        raise ValueError(f"not a list of hashes: {error}") from error


class RecalledWriter:
    """In the admin process: writes the file when it says something else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: dict[str, float] | None = None

    def write(self, found: dict[str, float]) -> None:
        """``found``: the newest; of more than ``MAX_ENTRIES`` one more. Raises OSError; then it is tried again with the next
        call."""
        found = _listed(found)
        if found != self._written:
            write_whole(self._path, json.dumps(found).encode(), durable=False)
            self._written = found


def _listed(found: dict[str, float]) -> dict[str, float]:
    """What is not among the newest was found before them: no verdict from before that counts, of whatever body. Otherwise who
    has ten thousand bad bodies would have another tenant's forgotten."""
    if len(found) <= MAX_ENTRIES:
        return found
    newest = sorted(found.items(), key=lambda each: each[1], reverse=True)
    return dict(newest[:MAX_ENTRIES]) | {EVERY: newest[MAX_ENTRIES][1]}
