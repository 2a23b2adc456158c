"""Audit events where they are: in the workers' spool, in the JSON lines, in the database."""

import contextlib
import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from tests.e2e.running import PATIENCE, Running, wait_until

type Event = dict[str, Any]


def spooled(state: Path) -> list[Event]:
    """Events in the segments that have not been deleted. A line under way is left out."""
    return _events(sorted((state / "spool").glob("*.seg")))


def lines(state: Path) -> list[Event]:
    return _events(sorted(state.glob("audit.jsonl*")))


def stored(state: Path) -> list[str]:
    """Ids in the database."""
    with contextlib.closing(sqlite3.connect(f"file:{state / 'audit.db'}?mode=ro", uri=True)) as database:
        return [row[0] for row in database.execute("SELECT id FROM audit_logs")]


def _events(paths: list[Path]) -> list[Event]:
    found = []
    for path in paths:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # drained between the listing and the reading
        found += [json.loads(line) for line in data.rpartition(b"\n")[0].split(b"\n") if line]
    return found


def records(appliance: Running, containing: str = "", **wanted: Any) -> list[Event]:
    """Each event once, as soon as a worker has written it; ``containing`` is a part of its URL."""
    events = {event["id"]: event for event in (*lines(appliance.state), *spooled(appliance.state))}
    return [
        event
        for event in events.values()
        if containing in event["url"] and all(event.get(key) == value for key, value in wanted.items())
    ]


def record(appliance: Running, containing: str = "", seconds: float = PATIENCE, **wanted: Any) -> Event:
    """The only event that fits."""
    found = wait_until(lambda: records(appliance, containing, **wanted), seconds, f"a record of {containing} with {wanted}")
    assert len(found) == 1, found
    event: Event = found[0]
    return event


class SpoolWitness:
    """Keeps every segment that the workers make, by a second name, so that what the drain deletes can still be read."""

    def __init__(self, state: Path, keep: Path) -> None:
        self._spool = state / "spool"
        self._keep = keep
        keep.mkdir()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "SpoolWitness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.look()

    def look(self) -> None:
        for path in self._spool.glob("*.seg"):
            kept = self._keep / path.name
            if not kept.exists():
                try:
                    os.link(path, kept)
                except FileNotFoundError:
                    continue

    def events(self) -> list[Event]:
        return _events(sorted(self._keep.glob("*.seg")))
