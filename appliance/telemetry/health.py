"""The health of all processes: each writes what it knows of itself, whoever asks reads all.

A process that hangs or dies stops writing, and a file that is too old says so: nothing has to be asked over a socket
that the sick process would have to answer.
"""

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.text import printable

logger = logging.getLogger(__name__)

STALE_AFTER = 15.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_MAX_BYTES = 256 * 1024


class State(Enum):
    OK = "ok"
    DEGRADED = "degraded"
    """It works, with less than it should have."""
    UNHEALTHY = "unhealthy"

    @property
    def rank(self) -> int:
        return ("ok", "degraded", "unhealthy").index(self.value)


@dataclass(frozen=True, slots=True)
class Component:
    """``since``: when it came into this state, seconds since the epoch. ``detail`` is for a person."""

    state: State
    detail: str = ""
    since: float = 0.0
    ms: float = 0.0
    """How long the check took."""


@dataclass(frozen=True, slots=True)
class Process:
    name: str
    pid: int
    heartbeat: float
    components: dict[str, Component] = field(default_factory=dict)
    stale: bool = False

    @property
    def state(self) -> State:
        return State.UNHEALTHY if self.stale else worst(component.state for component in self.components.values())


@dataclass(frozen=True, slots=True)
class Health:
    """``missing``: processes that should be there and are not."""

    processes: dict[str, Process]
    missing: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        if self.missing or not self.processes:
            return State.UNHEALTHY
        return worst(process.state for process in self.processes.values())

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "state": self.state.value,
            "missing": list(self.missing),
            "processes": {name: _process_dict(process) for name, process in self.processes.items()},
        }


def notices(health: Health) -> list[str]:
    """What a person has to know, one line each; empty when all is well."""
    lines = [f"{name}: not running" for name in health.missing]
    for process in health.processes.values():
        if process.stale:
            lines.append(f"{process.name}: no sign of life")
        bad = {name: item for name, item in process.components.items() if item.state is not State.OK}
        lines += [f"{name}: {item.detail or item.state.value} ({process.name})" for name, item in bad.items()]
    return lines or ([] if health.state is State.OK else ["no process has reported yet"])


def worst(states: Iterable[State]) -> State:
    """The worst of some states; ``ok`` for none."""
    return max(states, key=lambda state: state.rank, default=State.OK)


def _process_dict(process: Process) -> dict[str, object]:
    components = {name: asdict(item) | {"state": item.state.value} for name, item in process.components.items()}
    return {
        "state": process.state.value,
        "pid": process.pid,
        "heartbeat": process.heartbeat,
        "stale": process.stale,
        "components": components,
    }


class HealthWriter:
    """The states of one process. ``set`` writes when a state changes; call ``heartbeat`` every few seconds besides."""

    def __init__(self, directory: Path, process: str, clock: Clock | None = None) -> None:
        if not _NAME.match(process):
            raise ValueError(f"not a process name: {process!r}")
        self._path = directory / f"health-{process}.json"
        self._process = process
        self._clock = clock or SystemClock()
        self._components: dict[str, Component] = {}

    def set(self, component: str, state: State, detail: str = "", ms: float = 0.0) -> None:
        """The state of a component, now. Raises OSError when it cannot be written."""
        before = self._components.get(component)
        changed = before is None or before.state is not state
        since = self._clock.now() if before is None or changed else before.since
        self._components[component] = Component(state, printable(detail, 512), since, ms)
        if changed:
            self.heartbeat()

    def heartbeat(self) -> None:
        """Write all states with the time: the process lives. Raises OSError when it cannot be written."""
        data = {
            "process": self._process,
            "pid": os.getpid(),
            "heartbeat": self._clock.now(),
            "components": {name: asdict(item) | {"state": item.state.value} for name, item in self._components.items()},
        }
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(data))
        temporary.replace(self._path)

    def step_aside(self) -> None:
        """From now on under a name of its own: the process's name belongs to whoever takes its place."""
        self._process = f"draining-{self._process}-{os.getpid()}"
        self._path = self._path.with_name(f"health-{self._process}.json")

    def remove(self) -> None:
        """The process ends on purpose: it is not missed."""
        self._path.unlink(missing_ok=True)


class HealthReader:
    """Reads all processes' states. ``stale_after`` seconds without a heartbeat are unhealthy."""

    def __init__(self, directory: Path, clock: Clock | None = None, stale_after: float = STALE_AFTER) -> None:
        self._directory = directory
        self._clock = clock or SystemClock()
        self._stale_after = stale_after

    def read(self, expected: tuple[str, ...] = ()) -> Health:
        """The state of everything. ``expected``: names of processes that must be there."""
        found = {}
        for path in sorted(self._directory.glob("health-*.json")):
            name = path.name.removeprefix("health-").removesuffix(".json")
            process = self._process(path, name)
            if process:
                found[name] = process
        return Health(found, tuple(name for name in expected if name not in found))

    def _process(self, path: Path, name: str) -> Process | None:
        try:
            with path.open("rb") as file:
                data = json.loads(file.read(_MAX_BYTES))
            heartbeat = float(data["heartbeat"])
            stale = not -self._stale_after <= self._clock.now() - heartbeat <= self._stale_after
            return Process(name, int(data["pid"]), heartbeat, _components(data["components"]), stale)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            logger.error("the health file of a process cannot be read", extra={"process_name": name, "error": str(error)})
            return Process(name, 0, 0.0, {"health": Component(State.UNHEALTHY, "the health file cannot be read")}, stale=True)


def _components(data: Mapping[str, Mapping[str, object]]) -> dict[str, Component]:
    return {
        str(name): Component(State(item["state"]), str(item["detail"]), float(str(item["since"])), float(str(item["ms"])))
        for name, item in data.items()
    }
