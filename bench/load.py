"""Load generators in the client's namespace, and what their output says."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, python, running
from bench.topology import Namespace

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_CYCLE = """\
-- a different body each time
local n = {start}
request = function()
  n = (n + 1) % {count}
  return wrk.format("GET", "{path}" .. n)
end
"""
_ZIPF = """\
local upto, sum = {{}}, 0
for n = 1, {count} do sum = sum + 1 / n; upto[n] = sum end
math.randomseed(1)
request = function()
  local wanted, low, high = math.random() * sum, 1, {count}
  while low < high do
    local middle = math.floor((low + high) / 2)
    if upto[middle] < wanted then low = middle + 1 else high = middle end
  end
  return wrk.format("GET", "{path}" .. (low - 1))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One run of a generator. ``seconds`` is what it says it ran; ``failed`` are requests without a good answer."""

    requests: int
    seconds: float
    bytes: int
    failed: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0


def parse_wrk(output: str) -> Load:
    """Raises BenchError when it is no output of wrk."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h), ([\d.]+)([KMGT]?)B read", output)
    if total is None:
        raise BenchError(f"wrk said: {output[-500:]}")
    factor = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}[total[3]]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    failed = int(bad[1]) if bad else 0
    failed += sum(int(word) for word in socket_errors.groups()) if socket_errors else 0
    return Load(int(total[1]), float(total[2]) * factor, round(float(total[4]) * _UNITS[total[5]]), failed)


def parse_h2load(output: str) -> Load:
    """Raises BenchError when it is no output of h2load."""
    finished = re.search(r"finished in ([\d.]+)(us|ms|s), ([\d.]+) req/s", output)
    total = re.search(r"^requests: (\d+) total", output, re.MULTILINE)
    codes = re.search(r"status codes: (\d+) 2xx", output)
    traffic = re.search(r"traffic: \S+ \((\d+)\) total", output)
    if finished is None or total is None or codes is None or traffic is None:
        raise BenchError(f"h2load said: {output[-500:]}")
    seconds = float(finished[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[finished[2]]
    return Load(int(codes[1]), seconds, int(traffic[1]), int(total[1]) - int(codes[1]))


def wrk(client: Namespace, url: str, connections: int, seconds: int, options: tuple[str, ...] = ()) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", *options, url]
    return parse_wrk(client.call(*command, seconds=seconds + 60))


def h2load(client: Namespace, url: str, connections: int, streams: int, seconds: int) -> Load:
    """By number, not by time: h2load counts requests that its own time limit cut off as failed."""
    trial = parse_h2load(client.call("h2load", f"-c{connections}", f"-m{streams}", "-n400", url))
    count = max(connections * streams * 4, round(trial.rate * seconds))
    return parse_h2load(client.call("h2load", f"-c{connections}", f"-m{streams}", f"-n{count}", url, seconds=seconds * 10 + 60))


def handshakes(client: Namespace, base: Path, host: str, kind: str, connections: int, seconds: int) -> Load:
    """New TLS connections by ``bench.handshakes``; ``base`` keeps the number of names asked for so far."""
    used = base / f"cold-{host}"
    first = int(used.read_text()) if used.exists() else 0
    command = python("bench.handshakes", host, kind, str(connections), str(seconds), str(first))
    told = json.loads(client.call(*command, seconds=seconds + 60))
    if kind == "cold":
        used.write_text(str(first + told["requests"] + told["failed"] + connections))
    # a client that wanted to resume and mostly could not has failed
    missed = told["requests"] - told["resumed"] - connections if kind == "resume" else 0
    return Load(told["requests"], told["seconds"], told["bytes"], told["failed"] + max(0, missed))


def cycle_script(base: Path, path: str, count: int, start: int) -> Path:
    """A script for wrk that asks for ``path0``, ``path1`` and so on."""
    script = base / f"cycle-{path.strip('/').replace('/', '-')}-{start}.lua"
    script.write_text(_CYCLE.format(path=path, count=count, start=start))
    return script


def zipf_script(base: Path, path: str, count: int) -> Path:
    """A script for wrk that asks for ``path0`` to ``pathN``, the n-th as often as 1/n (Zipf's law with exponent 1)."""
    script = base / f"zipf-{path.strip('/').replace('/', '-')}.lua"
    script.write_text(_ZIPF.format(path=path, count=count))
    return script


def fetch(client: Namespace, url: str) -> tuple[int, int]:
    """Status and size of one answer, status 0 without one; the certificate is not checked here."""
    curl = 'curl -sk -m 20 -o /dev/null -w "%{http_code} %{size_download}" "$0" || true'
    text = client.call("sh", "-c", curl, url)
    status, size = text.split()
    return int(status), int(size)


@contextmanager
def idle_connections(client: Namespace, base: Path, host: str, count: int) -> Iterator[None]:
    """``count`` TLS connections, each after one request, held open."""
    with running(client.enter(python("bench.idle", host, str(count))), base / f"idle-{host}.log", patience=0) as program:
        program.wait_until(lambda: "ready" in program.log.read_text(), f"{count} connections to {host}", 180)
        yield
