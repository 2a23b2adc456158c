"""Entry of every child process: ``python -O -m appliance.child KIND INDEX FD``. Started by the supervisor, by nobody else."""

# ruff: noqa: E402 - what follows must come after the signal
import signal

# Ctrl-C may come while the imports below run, and Python would answer with a traceback from each child.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import asyncio
import ctypes
import gc
import importlib
import os
import pickle
import resource
import socket
import sys
from dataclasses import dataclass
from typing import Any

from appliance import sources
from appliance.config.root import AppConfig
from appliance.engine.generation import OTHER_CODE
from appliance.engine.stage import Stage
from appliance.hardening import die_with_parent, leave_no_trace
from appliance.telemetry.logs import configure

KINDS = {"worker": "worker", "signer": "signer", "icap": "icap", "admin": "admin", "demo": "demo"}
_M_MMAP_THRESHOLD = -3
_OWN_MAPPING = 1024 * 1024
"""Bytes from which a block of memory is a mapping of its own, given back when it is freed. By default glibc raises the
threshold to the largest block it has seen: after 12 bodies of 20 MB, 500 MB of free heap stayed with the process."""

_GC = (20_000, 10, 10)
"""Objects between collections, ten times Python's default. A connection leaves a thousand objects in cycles, mitmproxy's
layers; to look for them after every second connection took 3 % of the CPU, and twenty connections' worth is some 5 MB."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What a child starts with: the configuration, the listening sockets by name, the line to its parent, and a secret if its
    kind has one."""

    payload: AppConfig
    sockets: dict[str, socket.socket]
    stage: Stage
    secret: bytes


def main() -> None:
    kind, index, fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    die_with_parent()
    leave_no_trace()
    bootstrap = _read(fd, kind)
    _tune()
    configure(bootstrap.payload.log.level, bootstrap.payload.log.target)
    runner = importlib.import_module(f"appliance.app.{KINDS[kind]}").run
    gc.freeze()  # what start-up made lives as long as the process: no collection needs to look at it again
    gc.set_threshold(*_GC)
    told = (bootstrap.secret,) if bootstrap.secret else ()
    work = runner(bootstrap.payload, bootstrap.sockets, index, bootstrap.stage, *told)
    _loop_factory_run(work, uvloop=kind in ("worker", "signer", "icap"))


def _loop_factory_run(main_task: Any, *, uvloop: bool) -> None:
    if uvloop:
        import uvloop as fast

        with asyncio.Runner(loop_factory=fast.new_event_loop) as runner:
            runner.run(main_task)
    else:
        asyncio.run(main_task)


def _read(fd: int, kind: str) -> Bootstrap:
    """Ends the process when it is of other code than its parent: what it was told may have another meaning here."""
    with os.fdopen(fd, "rb") as file:
        told = pickle.load(file)  # noqa: S301 - written by our parent into memory that nobody else can open
    if told["stamp"] not in ("", sources.fingerprint()):
        print(f"{kind}: the code on disk is not what its parent runs; restart Arcus as a whole", file=sys.stderr)
        raise SystemExit(OTHER_CODE)
    payload = pickle.loads(told["payload"])  # noqa: S301
    sockets = {name: socket.socket(fileno=number) for name, number in told["sockets"].items()}
    return Bootstrap(payload, sockets, Stage(socket.socket(fileno=told["line"])), told["secret"])


def _tune() -> None:
    """Give large blocks of memory back at once; use every descriptor the system allows."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
