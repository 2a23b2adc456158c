"""The folder in which the processes' metrics meet.

prometheus_client keeps each process's values in files there when PROMETHEUS_MULTIPROC_DIR is set before its first
import, so ``setup`` comes first. This module does not import it at the top for the same reason.
"""

import contextlib
import fcntl
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_RETIRED = "retired"
_FILE_BYTES = 256 * 1024


def setup(directory: Path, *, fresh: bool = False) -> None:
    """Keep this process's metrics in ``directory``. ``fresh``: forget an earlier run; the supervisor does, before all others.

    Raises:
        RuntimeError: prometheus_client was imported before, so its values are private to this process for good.
    """
    values = sys.modules.get("prometheus_client.values")
    if values is not None and not values.ValueClass._multiprocess:
        raise RuntimeError("telemetry.setup must run before prometheus_client is imported")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if fresh:
        for path in directory.glob("*.db"):
            path.unlink(missing_ok=True)
    os.environ[VARIABLE] = str(directory)


def metrics_directory() -> Path | None:
    """Where the processes' values are; None when this process keeps its own."""
    value = os.environ.get(VARIABLE)
    return Path(value) if value else None


def reserve(directory: Path, prefixes: Iterator[str]) -> None:
    """Make this process's files with their blocks on disk. prometheus_client maps sparse files, and touching a page that
    a full disk cannot back is SIGBUS: the disk would kill the worker."""
    for prefix in prefixes:
        path = directory / f"{prefix}_{os.getpid()}.db"
        if path.exists():
            continue
        hidden = directory / f".{path.name}"
        with hidden.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
        hidden.rename(path)  # a reader must never see it empty


def retire(directory: Path, pid: int) -> None:
    """The process is gone: its live gauges end, its counters stay in the sums, its files go.

    Without this a total would go down, or there would be more files to read with each restart.
    """
    with _locked(directory, fcntl.LOCK_EX):
        for path in directory.glob(f"gauge_*_{pid}.db"):
            path.unlink(missing_ok=True)
        for kind in ("counter", "histogram"):
            path = directory / f"{kind}_{pid}.db"
            if path.exists():
                _merge(directory / f"{kind}_{_RETIRED}.db", path)


@contextlib.contextmanager
def reading(directory: Path) -> Iterator[None]:
    """While no process is being retired."""
    with _locked(directory, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def _locked(directory: Path, how: int) -> Iterator[None]:
    fd = os.open(directory / "metrics.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)


def _merge(sums: Path, path: Path) -> None:
    from prometheus_client import mmap_dict

    mapped: Any = mmap_dict.MmapedDict
    totals: dict[str, float] = defaultdict(float)
    for source in (sums, path):
        if source.exists():
            for key, value, _, _ in mapped.read_all_values_from_file(str(source)):
                totals[key] += value
    hidden = sums.with_name(f".{sums.name}")
    hidden.unlink(missing_ok=True)
    merged = mapped(str(hidden))
    for key, value in totals.items():
        merged.write_value(key, value, 0.0)
    merged.close()
    hidden.rename(sums)
    path.unlink()
