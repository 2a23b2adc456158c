"""Programs that the bench starts, and what /proc knows of them: CPU time and memory, summed over a tree of processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_ROOT = Path(__file__).parent.parent


class BenchError(Exception):
    """Something did not start or did not answer as it must; the text is for a person."""


@dataclass(frozen=True, slots=True)
class Usage:
    """A tree of processes at one moment. ``cpu`` in seconds since their start, the others in bytes.

    ``resident`` counts a page once for each process that maps it, ``share`` (PSS) once over all of them;
    ``peak`` is the sum of each process's own high-water mark (VmHWM).
    """

    cpu: float
    resident: int
    share: int
    peak: int
    processes: int


class Program:
    """A running program, with everything that it started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def tree(self) -> list[int]:
        """Process ids, without the wrapper that only entered the namespaces."""
        return _descendants(self.pid)

    def usage(self) -> Usage:
        return total([found for pid in self.tree() if (found := _usage(pid)) is not None])

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Raises BenchError with the end of the program's log when it ends, or does not get there."""
        deadline = time.monotonic() + seconds
        while not _succeeds(ready):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise BenchError(f"{what} did not start (status {self._process.returncode}):\n{tail}")
            time.sleep(0.1)

    def stop(self, patience: float) -> None:
        """SIGTERM to the program itself, SIGKILL to whatever is left of its tree."""
        tree = self.tree()
        for pid in tree[:1]:
            _signal(pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        for pid in {*tree, *self.tree()}:
            _signal(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()


def start(command: Sequence[str], log: Path) -> Program:
    """Start it in the background; it is killed when this process dies, however that happens."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_DIE_WITH_US, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return Program(process, log)


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, patience: float = 8.0) -> Iterator[Program]:
    """``patience``: seconds that it has to end by itself."""
    program = start(command, log)
    try:
        yield program
    finally:
        program.stop(patience)


def python(module: str, *arguments: str) -> list[str]:
    """The command line of a module of this repository, from any folder."""
    return ["env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", module, *arguments]


def call(command: Sequence[str], seconds: float = 120) -> str:
    """Run to the end and give its standard output. Raises BenchError when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{' '.join(command)}: no end after {seconds:.0f} s") from error
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: status {done.returncode}: {(done.stderr or done.stdout)[-1500:]}")
    return done.stdout


def children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for child in children(pid):
        found += [child, *_descendants(child)]
    return found


def _usage(pid: int) -> Usage | None:
    with contextlib.suppress(OSError, KeyError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # utime, stime, and those of children that have ended and been waited for (proc_pid_stat(5), fields 14 to 17)
        cpu = sum(int(value) for value in fields[11:15]) / TICKS
        status = _kilobytes(Path(f"/proc/{pid}/status"))
        share = _kilobytes(Path(f"/proc/{pid}/smaps_rollup"))
        return Usage(cpu, status["VmRSS"], share["Pss"], status["VmHWM"], 1)
    return None


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time of these processes, without their children."""
    return sum(usage.cpu for pid in pids if (usage := _usage(pid)) is not None)


def _kilobytes(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1:] == ["kB"]}


def total(usages: Sequence[Usage]) -> Usage:
    return Usage(
        sum(each.cpu for each in usages),
        sum(each.resident for each in usages),
        sum(each.share for each in usages),
        sum(each.peak for each in usages),
        len(usages),
    )


def _signal(pid: int, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, which)


def _succeeds(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except (OSError, BenchError):
        return False
