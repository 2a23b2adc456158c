"""Exclusions in the traffic path, and the snapshot by which the admin process tells the workers of learned ones.

Nothing here leads to the database or its libraries: workers have no use for them, in memory or at their start.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from appliance.config.root import AppConfig
from appliance.domain.exclusion import MAX_SNAPSHOT, Learned, from_snapshot, to_snapshot
from appliance.files import write_whole
from appliance.policy.decrypt import compile_lists
from appliance.policy.exclusions import Exclusions, compile_exclusions
from appliance.watched import Watched


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


def snapshot(path: Path, table: Exclusions) -> Watched[tuple[Learned, ...]]:
    """What the file says, given to the workers' table. An entry ends by itself, also while a newer list cannot be read."""
    return Watched(path, from_snapshot, (), MAX_SNAPSHOT, table.learn)
