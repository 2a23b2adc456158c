"""`arcus run` with nothing else, in an empty folder: what it prints works as printed, and Ctrl-C ends all of it."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.demo.origin import eicar
from icap.server.signatures import SYSTEM_DIRECTORY, has_databases
from tests.e2e import netns
from tests.e2e.running import ROOT, wait_until
from tests.lifetime import with_us

pytestmark = [pytest.mark.e2e, pytest.mark.integration]
START = 90.0
STOP = 5.0


@dataclass
class Terminal:
    """What a person has: the output so far, and another terminal to paste into."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path
    prefix: list[str]

    @property
    def output(self) -> str:
        return self.log.read_text()

    def paste(self, line: str) -> tuple[int, bytes]:
        command = shlex.split(line, comments=True)
        options = ["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"]
        done = subprocess.run([*self.prefix, *command, *options], cwd=self.folder, capture_output=True, timeout=40, check=False)
        body, _, status = done.stdout.rpartition(b"\n")
        return int(status or 0), body + done.stderr

    def descendants(self) -> list[int]:
        """Everything that it started, and what that started."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found[1:]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """The default's ports are fixed: where we may, in a namespace in which nobody else has them."""
    folder = tmp_path_factory.mktemp("run")
    name = f"arcus-run-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        prefix = stack.enter_context(_namespace(name)) if not netns.why_not() else []
        log = folder / "output"
        with log.open("wb") as output:
            process = subprocess.Popen(
                with_us(*prefix, sys.executable, "-m", "appliance.cli", "run"),
                cwd=folder,
                stdout=output,
                stderr=output,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        found = Terminal(process, folder, log, prefix)
        try:
            wait_until(lambda: process.poll() is not None or "Ctrl-C" in found.output, START, "the banner")
            assert process.poll() is None, found.output
            yield found
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _namespace(name: str) -> Iterator[list[str]]:
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield netns.Gateway.inside(name)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


def _line(terminal: Terminal, containing: str) -> str:
    return next(line.strip() for line in terminal.output.splitlines() if containing in line)


def test_dep_01_the_banner_says_where_everything_is(terminal: Terminal) -> None:
    text = terminal.output
    for part in ("HTTP proxy", "127.0.0.1:8080", "SOCKS5 proxy", "127.0.0.1:1080", "http://127.0.0.1:9090/", "admin token"):
        assert part in text
    ca = _line(terminal, "CA  ").split()[-1]
    assert (terminal.folder / ca).is_file()
    assert not [path for path in terminal.folder.iterdir() if path.name not in ("state", "output")], "nothing lies about"


def test_dep_01_the_lines_of_the_banner_work_as_pasted(terminal: Terminal) -> None:
    page, virus = (_line(terminal, part) for part in ("9443/ ", "/eicar.com"))
    wait_until(lambda: terminal.paste(page)[0] == 200, START, "clamd is ready and the page is shown")
    status, body = terminal.paste(virus)
    assert status == 403
    assert b"malware" in body.lower()
    assert eicar() not in body


def test_dep_01_it_says_when_everything_is_up(terminal: Terminal) -> None:
    wait_until(lambda: "arcus: ready" in terminal.output, START, "the word that it is ready")
    assert terminal.output.count("arcus: ready") == 1


def test_dep_01_health_says_what_protects(terminal: Terminal) -> None:
    def states() -> str:
        return terminal.paste("curl http://127.0.0.1:9090/health")[1].decode()

    wait_until(lambda: "clamd" in states() and "is loading" not in states(), START, "clamd is ready")
    text = states()
    assert json.loads(text)
    assert ("EICAR test signatures only" in text) is not has_databases(SYSTEM_DIRECTORY)


def test_dep_01_the_state_is_for_its_owner_alone(terminal: Terminal) -> None:
    state = terminal.folder / "state"
    wait_until((state / "audit.db").exists, START, "the admin process has made the database")
    assert state.stat().st_mode & 0o077 == 0
    loose = [path for path in state.rglob("*.key") if path.stat().st_mode & 0o077]
    loose += [path for path in (state / "admin-token", state / "audit.db") if path.stat().st_mode & 0o077]
    assert loose == []


def test_dep_01_ctrl_c_ends_everything_it_started(terminal: Terminal) -> None:
    started = terminal.descendants()
    assert len(started) >= 6, "two workers, ICAP, admin, demo origin, clamd"
    began = time.monotonic()
    os.killpg(terminal.process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    assert terminal.process.wait(30) == 0
    assert time.monotonic() - began < STOP, "it takes about one second"
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    assert "Traceback" not in terminal.output, re.sub(r"\n\n+", "\n", terminal.output)
    left = [path.name for path in (terminal.folder / "state" / "run").glob("health-*")]
    assert left == [], terminal.output
    assert not (terminal.folder / "state" / "clamd" / "run" / "clamd.sock").exists()
