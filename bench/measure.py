"""Rounds, interleaved: each contender gets its turn in every round, so that a drift of the machine meets all of them."""

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.contenders import Contender
from bench.load import fetch, idle_connections
from bench.processes import BenchError, Usage
from bench.scenarios import Scenario
from bench.topology import Namespace

IDLE = 1000
SETTLE = 0.3
"""Seconds between runs: what one contender still has to do must not cost the next one."""


@dataclass(frozen=True, slots=True)
class Pace:
    rounds: int
    seconds: int
    warm_up: int


QUICK, FULL = Pace(2, 2, 1), Pace(5, 4, 2)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: ``value`` in the scenario's unit, ``per_cpu`` the same amount per second of the contender's CPU time."""

    value: float
    per_cpu: float
    busy: float
    """Cores the contender kept busy."""
    failed: int


@dataclass(slots=True)
class Cell:
    samples: list[Sample] = field(default_factory=list)

    @property
    def value(self) -> float:
        return statistics.median(sample.value for sample in self.samples)

    @property
    def per_cpu(self) -> float:
        return statistics.median(sample.per_cpu for sample in self.samples)

    @property
    def busy(self) -> float:
        return statistics.median(sample.busy for sample in self.samples)

    @property
    def failed(self) -> int:
        return sum(sample.failed for sample in self.samples)

    @property
    def spread(self) -> float:
        """Largest distance from the median, as a share of it."""
        values = [sample.value for sample in self.samples]
        return max(abs(value - self.value) for value in values) / self.value if self.value else 0.0


type Row = dict[str, Cell]
"""By name of the contender."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(client: Namespace, base: Path, scenario: Scenario, contenders: Sequence[Contender], pace: Pace) -> Row:
    """The scenario for every contender that can do it."""
    able = [each for each in contenders if (each.http2 or not scenario.http2) and scenario.needs not in each.lacks]
    for contender in able:
        scenario.drive(client, base, contender.host, pace.warm_up)
    row: Row = {contender.name: Cell() for contender in able}
    for number in range(pace.rounds):
        for contender in able:
            sample = _one(client, base, scenario, contender, pace.seconds)
            row[contender.name].samples.append(sample)
            say(f"  {scenario.name} {number + 1}/{pace.rounds} {contender.name:<12} {_told(scenario, sample)}")
    return row


def _one(client: Namespace, base: Path, scenario: Scenario, contender: Contender, seconds: int) -> Sample:
    time.sleep(SETTLE)
    before, started = contender.usage(), time.monotonic()
    load = scenario.drive(client, base, contender.host, seconds)
    wall = time.monotonic() - started
    time.sleep(SETTLE)  # the audit log is carried on by another process a moment later: that work belongs to this run
    cpu = contender.usage().cpu - before.cpu
    if not load.requests:
        raise BenchError(f"{contender.name} answered nothing in {scenario.name}")
    return Sample(scenario.value(load), scenario.amount(load) / cpu if cpu else 0.0, cpu / wall, load.failed)


def _told(scenario: Scenario, sample: Sample) -> str:
    text = f"{sample.value:9.1f} {scenario.unit}, {sample.busy:.2f} cores"
    return f"{text}, {sample.failed} FAILED" if sample.failed else text


def check(client: Namespace, contender: Contender) -> None:
    """One answer before anything is measured. Raises BenchError, with what the contender logged."""
    _expect(client, contender, "1k", (200, 1024))


def check_scanning(client: Namespace, contender: Contender) -> None:
    """The marker inside random bytes is refused, so bodies like the measured ones are scanned. Raises BenchError."""
    _expect(client, contender, "bad", (403, None))


def _expect(client: Namespace, contender: Contender, path: str, wanted: tuple[int, int | None]) -> None:
    status, size = fetch(client, f"https://{contender.host}/{path}")
    if status == wanted[0] and wanted[1] in (None, size):
        return
    logs = "\n".join(program.log.read_text(errors="replace")[-1500:] for program in contender.programs)
    raise BenchError(f"{contender.name}: /{path} has status {status} with {size} bytes, not {wanted}\n{logs}")


@dataclass(frozen=True, slots=True)
class Idle:
    """Bytes per ``IDLE`` connections, and what the contender has without any."""

    resident: int
    share: int
    empty: Usage


def idle_memory(client: Namespace, base: Path, contender: Contender) -> Idle:
    """How much a freshly started contender grows by the connections."""
    with idle_connections(client, base, contender.host, 20):
        pass  # what is loaded or made at the first connection is not the connections' cost
    time.sleep(2)
    before = contender.usage()
    with idle_connections(client, base, contender.host, IDLE):
        time.sleep(1)
        after = contender.usage()
    idle = Idle(after.resident - before.resident, after.share - before.share, before)
    say(f"  idle {contender.name:<12} {idle.share / 1e6:.1f} MB for {IDLE} connections (before: {before.share / 1e6:.1f} MB)")
    return idle
