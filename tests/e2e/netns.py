"""Network namespaces for tests: a client behind a gateway, which is where the appliance runs. Needs root."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

CLIENT_IP, INSIDE_IP = "10.71.0.2", "10.71.0.1"
OUTSIDE_IP, SERVER_IP = "10.72.0.1", "10.72.0.2"


def why_not() -> str:
    """Why namespaces cannot be used here; empty when they can."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    missing = [program for program in ("ip", "nft", "nsenter") if shutil.which(program) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    probe = subprocess.run(["unshare", "--net", "nft", "list", "ruleset"], capture_output=True, text=True, check=False)
    return f"nftables cannot be used: {probe.stderr.strip()}" if probe.returncode else ""


@dataclass(frozen=True)
class Gateway:
    """Three namespaces in a row: ``client``, ``gateway`` and ``server``, by name."""

    client: str
    gateway: str
    server: str

    @staticmethod
    def inside(name: str) -> list[str]:
        """The beginning of a command that runs in this namespace."""
        return ["ip", "netns", "exec", name]

    def nft(self, rules: str) -> None:
        """Replace the gateway's rules."""
        text = f"flush ruleset\n{rules}"
        done = subprocess.run([*self.inside(self.gateway), "nft", "-f", "-"], input=text, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)


def redirect(port: int) -> str:
    """All TCP of the client goes to a local port; SO_ORIGINAL_DST knows where it was going."""
    return f"""
table ip t {{
  chain pre {{
    type nat hook prerouting priority dstnat;
    iifname "inside" ip protocol tcp redirect to :{port}
  }}
}}
"""


def tproxy(port: int) -> str:
    """All TCP of the client is given to a transparent socket, its addresses unchanged."""
    return f"""
table ip t {{
  chain pre {{
    type filter hook prerouting priority mangle;
    iifname "inside" meta l4proto tcp socket transparent 1 meta mark set 1 accept
    iifname "inside" ip daddr != {INSIDE_IP} meta l4proto tcp tproxy to 127.0.0.1:{port} meta mark set 1 accept
  }}
}}
"""


@contextlib.contextmanager
def gateway(tag: str) -> Iterator[Gateway]:
    """The namespaces with their links and routes. ``tag``: a few letters that no other test uses; the process's number keeps
    two runs on one machine apart."""
    names = Gateway(*(f"{tag}-{os.getpid()}-{part}" for part in ("client", "gateway", "server")))
    try:
        _build(names)
        yield names
    finally:
        for name in (names.client, names.gateway, names.server):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _build(names: Gateway) -> None:
    for name in (names.client, names.gateway, names.server):
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
    _link(names.client, "eth0", CLIENT_IP, names.gateway, "inside", INSIDE_IP)
    _link(names.server, "eth0", SERVER_IP, names.gateway, "outside", OUTSIDE_IP)
    _ip("-n", names.client, "route", "add", "default", "via", INSIDE_IP)
    _ip("-n", names.server, "route", "add", "default", "via", OUTSIDE_IP)
    forward = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]
    subprocess.run([*Gateway.inside(names.gateway), *forward], check=True)
    # for tproxy: packets with the mark are delivered here, wherever they were going
    _ip("-n", names.gateway, "rule", "add", "fwmark", "1", "lookup", "100")
    _ip("-n", names.gateway, "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")


def _link(left: str, left_name: str, left_ip: str, right: str, right_name: str, right_ip: str) -> None:
    _ip("-n", left, "link", "add", left_name, "type", "veth", "peer", "name", right_name, "netns", right)
    for name, device, address in ((left, left_name, left_ip), (right, right_name, right_ip)):
        _ip("-n", name, "address", "add", f"{address}/24", "dev", device)
        _ip("-n", name, "link", "set", device, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """Sockets that this thread makes meanwhile belong to the namespace."""
    with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{name}") as wanted:
        os.setns(wanted.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(before.fileno(), os.CLONE_NEWNET)
