"""Which clients have accepted the next CA: told by the admin process, which has the records, to the workers, in a file."""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from appliance.files import stamp, write_whole

logger = logging.getLogger(__name__)

FILE = "ca-ready.json"
MAX_CLIENTS = 100_000
"""Of all CAs together; the file then has 2 MB."""


class ReadyClients:
    """A worker's view. ``directory``: ``state_dir/run``. Without a file, or with one that cannot be read, nobody is ready."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        self._seen: tuple[int, ...] = ()
        self._known: Mapping[str, frozenset[str]] = {}

    def knows(self, fingerprint: str, ip: str) -> bool:
        return ip in self._known.get(fingerprint, frozenset())

    def sample(self) -> None:
        """For the heartbeat: read the file again when it was replaced."""
        seen = stamp(self._file)
        if seen != self._seen:
            self._seen, self._known = seen, _read(self._file) if seen else {}


def _read(file: Path) -> dict[str, frozenset[str]]:
    try:
        document = json.loads(file.read_bytes())
        return {str(fingerprint): frozenset(map(str, ips)) for fingerprint, ips in document.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        logger.error("the list of clients that accept the next CA cannot be read", extra={"error": str(error)})
        return {}


def tell(directory: Path, ready: Mapping[str, Iterable[str]]) -> None:
    """The admin process's side. Raises OSError."""
    room = MAX_CLIENTS
    document: dict[str, list[str]] = {}
    for fingerprint, ips in sorted(ready.items()):
        document[fingerprint] = sorted(ips)[:room]
        room -= len(document[fingerprint])
    write_whole(directory / FILE, json.dumps(document).encode())
