"""Two network namespaces without a name: a client, and a gateway that holds the proxies and the origin.

A namespace lives as long as the process that holds it, and dies with this one, also after ``kill -9``: nothing has
to be cleaned up, and two benches do not meet. Each holder has its own mounts as well, for /etc/hosts and /dev/shm,
and the gateway its own process ids, so that no proxy's helper is left behind.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, Program, call, children, running

CLIENT = "10.99.0.2"
GATEWAY = "10.99.0.1"
_LINK = "bench"


@dataclass(frozen=True, slots=True)
class Namespace:
    """``holder`` is the process that every program enters. With ``pids`` those programs have a wrapper, see Program.tree."""

    holder: int
    pids: bool

    def enter(self, command: Sequence[str]) -> list[str]:
        """The command line that runs ``command`` inside."""
        flags = ["--net", "--mount", *(["--pid"] if self.pids else [])]
        return ["nsenter", "--target", str(self.holder), *flags, "--", *command]

    def call(self, *command: str, seconds: float = 120) -> str:
        return call(self.enter(command), seconds)


@dataclass(frozen=True, slots=True)
class Topology:
    client: Namespace
    gateway: Namespace

    def redirect(self, ports: Mapping[str, int]) -> None:
        """What the client sends to an address (port 443) goes to a port of the gateway; other addresses are not touched."""
        rules = "\n".join(
            f'    iifname "{_LINK}" ip daddr {address} tcp dport 443 redirect to :{port}' for address, port in ports.items()
        )
        text = f"table ip bench\ndelete table ip bench\ntable ip bench {{\n  chain pre {{\n" \
               f"    type nat hook prerouting priority dstnat;\n{rules}\n  }}\n}}\n"  # fmt: skip
        self.gateway.call("sh", "-c", f"nft -f - <<'RULES'\n{text}RULES")


@contextlib.contextmanager
def topology(base: Path, hosts: Mapping[str, str]) -> Iterator[Topology]:
    """``hosts`` are names and their addresses, which the gateway gets for its own."""
    file = base / "hosts"
    file.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in hosts.items()))
    resolver = base / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    with _namespace(base, "client") as client, _namespace(base, "gateway") as gateway:
        for each in (client, gateway):
            _mount(each, {"/etc/hosts": file, "/etc/resolv.conf": resolver})
            _tune(each)
        _connect(client, gateway, sorted(set(hosts.values())))
        yield Topology(client, gateway)


@contextlib.contextmanager
def _namespace(base: Path, name: str) -> Iterator[Namespace]:
    # two processes: --fork makes the first of the new process ids, and --kill-child ends it with its parent
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sleep", "infinity"]
    with running(command, base / f"{name}.log", patience=0) as program:
        yield Namespace(_inner(program), pids=name == "gateway")


def _inner(program: Program) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for pid in children(program.pid):
            if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                return pid
        time.sleep(0.02)
    raise BenchError(f"no namespace: {program.log.read_text()}")


def _mount(namespace: Namespace, files: Mapping[str, Path]) -> None:
    for target, source in files.items():
        namespace.call("mount", "--bind", str(source), target)
    namespace.call("mount", "-t", "tmpfs", "none", "/dev/shm")


def _tune(namespace: Namespace) -> None:
    """A connection for each request would soon use up the ports of one address in TIME_WAIT."""
    namespace.call("sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1", "net.ipv4.ip_local_port_range=2048 65000")
    namespace.call("ip", "link", "set", "lo", "up")


def _connect(client: Namespace, gateway: Namespace, origins: Sequence[str]) -> None:
    client.call("ip", "link", "add", _LINK, "type", "veth", "peer", "name", _LINK, "netns", str(gateway.holder))
    for namespace, address in ((client, CLIENT), (gateway, GATEWAY)):
        namespace.call("ip", "addr", "add", f"{address}/24", "dev", _LINK)
        namespace.call("ip", "link", "set", _LINK, "up")
    client.call("ip", "route", "add", "default", "via", GATEWAY)
    gateway.call("sysctl", "-qw", "net.ipv4.ip_forward=1")
    for address in origins:
        gateway.call("ip", "addr", "add", f"{address}/32", "dev", "lo")
