"""``python -m bench.streams``: how long an event of a stream takes through inspection and a real clamd, and what it costs.

An origin writes the time into each event; the client, on the same machine, takes it off its own. Beside: the same stream with
``event_stream: bypass``, so that what is left is the scan.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.e2e import origins, sockets
from tests.e2e.running import Running, base_config, running
from tests.e2e.streams import Client, Streamer, Talk
from tests.ports import free_port
from tests.servers import clamd

_SOURCES = {"scan": "127.0.0.2", "bypass": "127.0.0.3"}
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds from the origin's write to the client's read; CPU of the worker for each event, in milliseconds."""

    policy: str
    events: int
    first: float
    median: float
    p99: float
    worker_cpu: float


def _origin(count: int, pause: float, size: int) -> Streamer:
    def script(talk: Talk) -> None:
        talk.begin("text/event-stream")
        for _ in range(count):
            talk.say(f"data: {time.monotonic()!r} {os.urandom(size // 2).hex()}\n\n".encode())
            time.sleep(pause)
        talk.end()

    return Streamer(scripts={"/events": script})


def measure(arcus: Running, origin: origins.Origin, policy: str, count: int) -> Measured:
    host, worker = f"origin.test:{origin.port}", arcus.child_pids("worker")[0]
    tunnel = sockets.connect(arcus.port("explicit"), host, source=_SOURCES[policy])
    taken: list[float] = []
    with sockets.tls(tunnel, "origin.test", arcus.ca()) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client, before, rest = Client.ask(sock, host, "/events"), _cpu(worker), b""
        while piece := client.chunk():
            now = time.monotonic()
            *events, rest = (rest + piece).split(b"\n\n")
            taken += [(now - float(event.split(b" ")[1])) * 1000 for event in events]
    spent = (_cpu(worker) - before) * 1000 / len(taken)
    ranked = sorted(taken)
    worst = ranked[int(len(ranked) * 0.99)]
    return Measured(policy, len(taken), *(round(each, 2) for each in (taken[0], statistics.median(taken), worst, spent)))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def run(count: int, pause: float, size: int) -> list[Measured]:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trusted, scanner, icap = origins.authority(directory), stack.enter_context(clamd()), free_port()
        context = trusted.context("origin.test")
        origin = stack.enter_context(origins.origin(context=context, hook=_origin(count, pause, size)))
        services = {f"icap_{each}_service": f"icap://127.0.0.1:{icap}/{each}" for each in ("reqmod", "respmod")}
        tenant = {"ca": "default", "escaper": "direct"}
        config = base_config(
            directory / "state",
            auditor=[origins.trusting(trusted) | services | {"name": name, "event_stream": name} for name in _SOURCES],
            tenant=[tenant | {"tenant_id": "default", "auditor": "scan"}]
            + [tenant | {"tenant_id": n, "auditor": n, "match": {"networks": [f"{ip}/32"]}} for n, ip in _SOURCES.items()],
            icap_server={
                "listen": {"address": f"127.0.0.1:{icap}"},
                "scanner": {"type": "clamd", "tcp": f"127.0.0.1:{scanner.port}"},
            },
        )
        arcus = stack.enter_context(running(config, directory))
        return [measure(arcus, origin, policy, count) for policy in ("bypass", "scan", "bypass", "scan")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.streams", description=__doc__)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two events")
    parser.add_argument("--size", type=int, default=200, help="characters of an event")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options.events, options.pause, options.size)
    if options.json:
        print(json.dumps([asdict(each) for each in found], indent=1))
        return 0
    print("| policy | events | first ms | median ms | p99 ms | worker CPU ms per event |\n|---|---|---|---|---|---|")
    for each in found:
        print(f"| {each.policy} | {each.events} | {each.first} | {each.median} | {each.p99} | {each.worker_cpu} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
