"""Exclusions in the traffic path, and the snapshot by which the admin process tells the workers of learned ones.

Nothing here leads to the database or its libraries: workers have no use for them, in memory or at their start.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from appliance.config.root import AppConfig
from appliance.domain.exclusion import MAX_SNAPSHOT, Learned, from_snapshot, to_snapshot
from appliance.files import stamp, write_whole
from appliance.policy.decrypt import compile_lists
from appliance.policy.exclusions import Exclusions, compile_exclusions


def exclusions(config: AppConfig, draw: Callable[[], float]) -> Exclusions:
    """For the traffic path."""
    interceptions = {auditor.name: auditor.tls_interception for auditor in config.auditor}
    return compile_exclusions(config.tenant, interceptions, compile_lists(config.host_list), draw)


class SnapshotWriter:
    """Writes the exclusions that hold, when they have changed. The file is replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: tuple[Learned, ...] | None = None

    def write(self, entries: Iterable[Learned]) -> None:
        """Raises OSError; then it is tried again with the next call."""
        wanted = tuple(entries)
        if wanted == self._written:
            return
        write_whole(self._path, to_snapshot(wanted))
        self._written = wanted


class SnapshotReader:
    """Gives the workers' table what the file says, when it has changed. Without a file that can be read nothing is excluded."""

    def __init__(self, path: Path, table: Exclusions) -> None:
        self._path = path
        self._table = table
        self._seen: tuple[int, ...] = ()
        self.error = ""

    def refresh(self) -> None:
        seen = stamp(self._path)
        if not seen:
            self._seen, self.error = seen, ""
            self._table.learn(())
            return
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._table.learn(from_snapshot(self._read()))
            self.error = ""
        except (OSError, ValueError) as error:
            self._table.learn(())
            self.error = f"the list of exclusions cannot be read: {error}"

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            data = file.read(MAX_SNAPSHOT + 1)
        if len(data) > MAX_SNAPSHOT:
            raise ValueError("too large")
        return data
