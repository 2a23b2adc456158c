"""Our ICAP server beside c-icap, each with its own clamd, on the same scripted load: ``make bench-icap``.

Both take the same requests over loopback from ``bench.icap_load``. What counts is the CPU time for one request: of the ICAP
server alone, and with that of its clamd, which judges the same bodies. Requests per second depend on what else the machine
does.
"""

import argparse
import contextlib
import json
import socket
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import icap_load, scanners
from bench.machine import describe
from bench.processes import BenchError, Program, call, cpu_seconds, python, running

_PORT = 1355
_TARGET = Path(__file__).parent / "icap-results.md"


class Here:
    """Where ``bench.scanners`` starts its programs: not in a namespace, but beside us."""

    holder = 0
    pids = False

    def enter(self, command: Sequence[str]) -> list[str]:
        return list(command)

    def call(self, *command: str, seconds: float = 120) -> str:
        return call(command, seconds)


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of request. ``size`` in bytes of its body."""

    title: str
    shape: str
    ours: str
    theirs: str
    size: int


SHAPES = (
    Shape("no body, 204", "null", "reqmod", "avscan", 0),
    Shape("1 KB, unique, scanned", "preview", "respmod", "avscan", 1024),
    Shape("100 KB, unique, scanned", "body", "respmod", "avscan", 100 * 1024),
)
NOT_SCANNED = Shape("1 KB, not scanned, 204", "preview", "echo", "", 1024)


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    port: int
    server: Program
    clamd: Program


@dataclass(frozen=True, slots=True)
class Figure:
    """Per request in microseconds of CPU, and requests per second; medians."""

    server: float
    clamd: float
    rate: float

    @property
    def per_core(self) -> float:
        return 1e6 / self.server

    @property
    def per_core_with_clamd(self) -> float:
        return 1e6 / (self.server + self.clamd)


@contextlib.contextmanager
def arcus(base: Path) -> Iterator[Contender]:
    with scanners.clamd(base, Here()) as scanner:  # type: ignore[arg-type] # a Namespace in all that matters
        options = ("--listen", f"127.0.0.1:{_PORT}", "--clamd", str(scanner.socket), "--state", str(base / "state"))
        with running(python("appliance.cli", "icap", "serve", *options), base / "arcus.log") as program:
            program.wait_until(lambda: "arcus: ready" in program.log.read_text(), "arcus icap serve")
            yield Contender("Arcus", _PORT, program, scanner.programs[0])


@contextlib.contextmanager
def c_icap(base: Path) -> Iterator[Contender]:
    with scanners.c_icap(base, Here()) as scanner:  # type: ignore[arg-type]
        clamd, program = scanner.programs
        yield Contender("c-icap", 1345, program, clamd)


def measure(contender: Contender, shape: Shape, service: str, seconds: float, rounds: int) -> Figure:
    """Raises BenchError when an answer is not 204."""
    found = [_once(contender, shape, service, seconds) for _ in range(rounds)]
    middle: Callable[[Callable[[Figure], float]], float] = lambda pick: statistics.median(map(pick, found))  # noqa: E731
    return Figure(middle(lambda one: one.server), middle(lambda one: one.clamd), middle(lambda one: one.rate))


def _once(contender: Contender, shape: Shape, service: str, seconds: float) -> Figure:
    clamd = _processes(contender.clamd)
    before = cpu_seconds(clamd)
    load = icap_load.drive(
        contender.port, shape.shape, service, size=shape.size, connections=16, processes=1, seconds=seconds,
        pids=_processes(contender.server),
    )  # fmt: skip
    if set(load.statuses) != {"204"}:
        raise BenchError(f"{contender.name}, {shape.title}: {load.statuses}")
    return Figure(load.cpu_us, (cpu_seconds(clamd) - before) / load.requests * 1e6, load.per_second)


def _processes(program: Program) -> list[int]:
    return [program.pid, *program.tree()]


def run(seconds: float, rounds: int) -> dict[str, dict[str, Figure]]:
    """By title of the shape and name of the contender."""
    found: dict[str, dict[str, Figure]] = {shape.title: {} for shape in (*SHAPES, NOT_SCANNED)}
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        base.chmod(0o755)
        with arcus(base / "arcus") as ours, c_icap(base / "c-icap") as theirs:
            for shape in SHAPES:
                found[shape.title][ours.name] = measure(ours, shape, shape.ours, seconds, rounds)
                found[shape.title][theirs.name] = measure(theirs, shape, shape.theirs, seconds, rounds)
            found[NOT_SCANNED.title][ours.name] = measure(ours, NOT_SCANNED, NOT_SCANNED.ours, seconds, rounds)
    return found


def markdown(found: dict[str, dict[str, Figure]], seconds: float, rounds: int) -> str:
    lines = [
        "# Our ICAP server beside c-icap",
        "",
        f"Made by `make bench-icap`: {rounds} rounds of {seconds:g} s each, 16 keep-alive connections, one request at a time",
        "on each, all answers 204; medians. Each server has one worker (c-icap: its processes and threads) and a clamd of its",
        "own, without clamd's cache. Per core: requests that one core answers in a second, by CPU time.",
        "",
        *(f"- {key}: {value}" for key, value in describe().items()),
        "",
        "| request | server | CPU, µs | per core | with clamd, µs | per core with clamd | requests/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, row in found.items():
        for name, one in row.items():
            both = one.server + one.clamd
            cells = (title, name, f"{one.server:.0f}", f"{one.per_core:,.0f}", f"{both:.0f}", f"{one.per_core_with_clamd:,.0f}")
            lines.append(f"| {' | '.join(cells)} | {one.rate:,.0f} |")
    return "\n".join(lines) + "\n"


def _listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--print", action="store_true", help="do not write bench/icap-results.md")
    told = parser.parse_args()
    if any(_listening(port) for port in (_PORT, 1345)):
        print(f"bench.icap: ports {_PORT} and 1345 must be free", file=sys.stderr)
        return 1
    found = run(told.seconds, told.rounds)
    text = markdown(found, told.seconds, told.rounds)
    print(text)
    if not told.print:
        _TARGET.write_text(text)
    print(json.dumps({title: {name: round(one.per_core) for name, one in row.items()} for title, row in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
