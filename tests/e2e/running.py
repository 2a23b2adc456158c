"""The whole appliance as processes, for tests: its own ports, its own state directory, ended by process id."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.lifetime import with_us
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
START = 90.0
"""Seconds for start-up on a busy machine."""
PATIENCE = 60.0
"""Seconds for what comes at once on a quiet machine."""


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE, what: str = "") -> Any:
    """The first true value of ``condition``; an assertion error after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


@dataclass
class Running:
    """An appliance that runs. ``ports`` by listener name, ``admin`` is the admin port."""

    process: subprocess.Popen[str]
    config: dict[str, Any]
    state: Path
    prefix: list[str] = field(default_factory=list)

    def port(self, server: str) -> int:
        node = next(each for each in self.config["server"] if each["name"] == server)
        return int(node["listen"]["address"].rpartition(":")[2])

    @property
    def admin_port(self) -> int:
        return int(self.config["admin"]["listen"]["address"].rpartition(":")[2])

    def ca(self, name: str = "default") -> Path:
        return self.state / "ca" / name / "ca.pem"

    def curl(self, *args: str | Path, via: str | None = "explicit", timeout: int = 20, check: bool = True) -> "Answer":
        """Run curl through a listener (None: straight) and give status, headers and body."""
        proxy = ["--proxy", f"http://127.0.0.1:{self.port(via)}"] if via else []
        command = [*self.prefix, "curl", "--silent", "--show-error", "--max-time", str(timeout), "--noproxy", "", *proxy]
        command += ["--dump-header", "-", "--write-out", "\n%{json}", *map(str, args)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=timeout + 10)
        return Answer.parse(done.returncode, done.stdout, done.stderr.decode())

    def events(self, **wanted: Any) -> list[dict[str, Any]]:
        """All audit events so far, from the JSON lines, whose fields have these values."""
        found = []
        for path in sorted(self.state.glob("audit.jsonl*")):
            whole, _, _ = path.read_text().rpartition("\n")  # The last line may be half written yet.
            found += [json.loads(line) for line in whole.splitlines() if line]
        return [event for event in found if all(event.get(key) == value for key, value in wanted.items())]

    def event(self, seconds: float = PATIENCE, **wanted: Any) -> dict[str, Any]:
        """The newest event with these values, once there is one."""
        events: list[dict[str, Any]] = wait_until(lambda: self.events(**wanted), seconds, f"an event with {wanted}")
        return events[-1]

    def child_pids(self, kind: str) -> list[int]:
        """Process ids of the children of one kind (``worker``, ``icap``, ``admin``)."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"appliance.child" in arguments and kind.encode() in arguments:
                    found.append(int(entry.name))
        return sorted(found)

    def rewrite(self, config: dict[str, Any]) -> None:
        """Another configuration in the same file. Nobody is told."""
        self.config = config
        with self.file.open("w") as file:
            YAML(typ="safe").dump(config, file)

    @property
    def file(self) -> Path:
        return self.state.parent / "arcus.yaml"

    def arcus(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on this appliance's configuration."""
        command = [sys.executable, "-m", "appliance.cli", *words, "-c", str(self.file)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    def reload(self, config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Change the file, if a new configuration is given, and reload: what `arcus reload --json` says."""
        if config is not None:
            self.rewrite(config)
        answer: dict[str, Any] = json.loads(self.arcus("reload", "--json").stdout)
        return answer

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.arcus("status", "--json").stdout)
        return answer

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@dataclass
class Answer:
    """What curl got. ``code`` is curl's exit status, ``status`` the last HTTP status (0: none)."""

    code: int
    status: int
    headers: dict[str, str]
    body: bytes
    error: str
    info: dict[str, Any]

    @classmethod
    def parse(cls, code: int, out: bytes, error: str) -> "Answer":
        rest, _, info = out.rpartition(b"\n{")
        facts = json.loads(b"{" + info) if info else {}
        headers: dict[str, str] = {}
        while rest.startswith(b"HTTP/"):
            head, _, rest = rest.partition(b"\r\n\r\n")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
            }
        return cls(code, int(facts.get("response_code", 0)), headers, rest, error, facts)


def base_config(state: Path, **sections: Any) -> dict[str, Any]:
    """A small complete configuration on free loopback ports; ``sections`` replace whole top-level keys."""
    config: dict[str, Any] = {
        "state_dir": str(state),
        "workers": 1,
        "ca": [{"name": "default"}],
        "resolver": [{"name": "local", "type": "system", "hosts": {"origin.test": ["127.0.0.1"]}}],
        "escaper": [
            {
                "name": "direct",
                "type": "direct_fixed",
                "resolver": "local",
                "egress_network_filter": {"allow": ["127.0.0.0/8"]},
            }
        ],
        "auditor": [{"name": "inspect", "tls_interception": {}}],
        "tenant": [{"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"}],
        "server": [{"name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}}],
        "admin": {"listen": {"address": f"127.0.0.1:{free_port()}"}},
    }
    return config | sections


@contextlib.contextmanager
def running(config: dict[str, Any], directory: Path, prefix: list[str] | None = None, root: Path = ROOT) -> Iterator[Running]:
    """Start the appliance, wait until it is ready, and end it. ``prefix``: a command to run it under (``ip netns exec``).
    ``root``: where the code is."""
    path = directory / "arcus.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(config, file)
    log = (directory / "arcus.log").open("w+")
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        with_us(*(prefix or []), sys.executable, "-m", "appliance.cli", "run", "-c", str(path)),
        stdout=log, stderr=subprocess.STDOUT, text=True, env=environment, cwd=directory,
    )  # fmt: skip
    appliance = Running(process, config, Path(config["state_dir"]), prefix or [])
    try:
        wait_until(lambda: process.poll() is not None or _ready(appliance), START, "the appliance is ready")
        if process.poll() is not None:
            log.seek(0)
            raise AssertionError(f"the appliance ended with {process.returncode}:\n{log.read()}")
        yield appliance
    finally:
        appliance.stop()
        log.close()


def _ready(appliance: Running) -> bool:
    """All workers have written their health file: they listen. Files that an earlier run left are not theirs."""
    pids = {str(pid) for pid in appliance.child_pids("worker")}
    files = [path.read_text() for path in (appliance.state / "run").glob("health-worker-*.json")]
    return len(pids & {str(json.loads(text)["pid"]) for text in files}) >= int(appliance.config["workers"])
