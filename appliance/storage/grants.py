"""What people have accepted on warning pages: one small file each, seen by every worker, kept when a worker dies."""

import dataclasses
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Final

from appliance.domain.clock import Clock
from appliance.domain.proceed import Warned

MAX_GRANTS: Final = 1_000
"""Of one tenant; above it nothing more is granted until old ones have ended."""


class Grants:
    """A file's name is made from what was accepted, its time of change is the end: a look-up is one ``stat``, and is made
    only for servers whose certificates are bad. The text inside is for people."""

    def __init__(self, folder: Path, clock: Clock, limit: int = MAX_GRANTS) -> None:
        self._folder, self._clock, self._limit = folder, clock, limit

    def grant(self, warned: Warned, until: float) -> bool:
        """Let ``warned`` pass until then (seconds since the epoch). False: the tenant has too many grants.

        Raises OSError: it could not be written, and does not hold.
        """
        file = self._file(warned)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._sweep(file.parent) >= self._limit and not file.exists():
            return False
        draft = file.with_name(f".{secrets.token_hex(16)}")
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({"until": until, **dataclasses.asdict(warned)}, stream)
        os.utime(draft, (until, until))
        draft.replace(file)
        return True

    def holds(self, warned: Warned) -> bool:
        """Whether this was granted and has not ended."""
        try:
            return self._clock.now() < self._file(warned).stat().st_mtime
        except OSError:
            return False

    def _file(self, warned: Warned) -> Path:
        fields = json.dumps(dataclasses.astuple(warned)).encode()
        return self._folder / warned.tenant / hashlib.sha256(fields).hexdigest()

    def _sweep(self, folder: Path) -> int:
        """Remove what has ended; how many are left. A draft is another worker's, which is writing it now."""
        now, left = self._clock.now(), 0
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith("."):
                    continue
                try:
                    ended = entry.stat().st_mtime <= now
                except FileNotFoundError:  # another worker has removed it
                    continue
                if ended:
                    Path(entry.path).unlink(missing_ok=True)
                left += not ended
        return left
