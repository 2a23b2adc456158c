"""Which clients have accepted the next CA: told by the admin process, which has the records, to the workers, in a file."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from appliance.files import write_whole
from appliance.watched import Watched

FILE = "ca-ready.json"
MAX_CLIENTS = 100_000
"""Of all CAs together; the file then has 2 MB, or 5 with the longest addresses."""
MAX_FILE: Final = 8 * 1024 * 1024


class ReadyClients:
    """A worker's view. ``directory``: ``state_dir/run``. Without a file nobody is ready."""

    def __init__(self, directory: Path) -> None:
        self.file = Watched(directory / FILE, _parse, _NOBODY, MAX_FILE)

    def knows(self, fingerprint: str, ip: str) -> bool:
        return ip in self.file.value.get(fingerprint, frozenset())


_NOBODY: Final[Mapping[str, frozenset[str]]] = {}


def _parse(data: bytes) -> Mapping[str, frozenset[str]]:
    """By fingerprint of the CA. Raises ValueError."""
    try:
        document = json.loads(data)
        return {str(fingerprint): frozenset(map(str, ips)) for fingerprint, ips in document.items()}
    except (AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"no list of clients: {error}") from error


def tell(directory: Path, ready: Mapping[str, Iterable[str]]) -> None:
    """The admin process's side. Raises OSError."""
    room = MAX_CLIENTS
    document: dict[str, list[str]] = {}
    for fingerprint, ips in sorted(ready.items()):
        document[fingerprint] = sorted(ips)[:room]
        room -= len(document[fingerprint])
    write_whole(directory / FILE, json.dumps(document).encode())
