"""Ports for servers that bind later, in another process."""

import random
import socket
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000
_TRIES = 100


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago, below those that the kernel gives to outgoing connections: between this
    call and the server's own bind, thousands of connections of other tests may begin."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    top = int(_EPHEMERAL.read_text().split()[0])
    for _ in range(_TRIES):
        port = random.SystemRandom().randrange(LOWEST, top) if top > LOWEST + _TRIES else 0
        with socket.socket(family) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RuntimeError(f"no free port on {host} between {LOWEST} and {top}")
