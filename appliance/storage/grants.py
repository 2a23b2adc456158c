"""What people have accepted on warning pages: one small file each, seen by every worker, kept when a worker dies."""

import dataclasses
import hashlib
import json
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from appliance.domain.clock import Clock
from appliance.domain.proceed import Warned
from appliance.domain.target import parse_ip
from appliance.files import write_whole

MAX_GRANTS: Final = 1_000
"""Of one tenant; above it nothing more is granted until old ones have ended."""
MAX_OF_CLIENT: Final = 50
"""Likewise, of one user at one address (an IPv6 /64 is one): nobody can use up what all others need."""


class Grants:
    """A file's name is made from what was accepted, its time of change is the end: a look-up is one ``stat``, and is made
    only for servers whose certificates are bad. The text inside is for people."""

    def __init__(self, folder: Path, clock: Clock, limit: int = MAX_GRANTS, of_client: int = MAX_OF_CLIENT) -> None:
        self._folder, self._clock, self._limit, self._of_client = folder, clock, limit, of_client

    def grant(self, warned: Warned, until: float) -> bool:
        """Let ``warned`` pass until then (seconds since the epoch). False: the tenant, or this client, has too many grants.

        Raises OSError: it could not be written, and does not hold.
        """
        file = self._file(warned)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = self._sweep(file.parent)
        own = sum(name.startswith(_client(warned)) for name in names)
        if (len(names) >= self._limit or own >= self._of_client) and not file.exists():
            return False
        data = json.dumps({"until": until, **dataclasses.asdict(warned)}).encode()
        # waiting for the disk would hold up everybody; a grant that a crash has lost is asked for again
        write_whole(file, data, durable=False, modified=until)
        return True

    def holds(self, warned: Warned) -> bool:
        """Whether this was granted and has not ended."""
        try:
            return self._clock.now() < self._file(warned).stat().st_mtime
        except OSError:
            return False

    def _file(self, warned: Warned) -> Path:
        fields = json.dumps(dataclasses.astuple(warned)).encode()
        return self._folder / warned.tenant / f"{_client(warned)}{hashlib.sha256(fields).hexdigest()}"

    def _sweep(self, folder: Path) -> list[str]:
        """Remove what has ended; the names of what is left. A draft is another worker's, which is writing it now."""
        now, left = self._clock.now(), list[str]()
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
                else:
                    left.append(entry.name)
        return left


def _client(warned: Warned) -> str:
    """How the names of a client's files begin. Who has one address of an IPv6 /64 has all of them."""
    address = parse_ip(warned.client)
    network = str(ip_network((address, 64), strict=False)) if address and address.version == 6 else warned.client
    return hashlib.sha256(json.dumps([network, warned.user]).encode()).hexdigest()[:16] + "-"
