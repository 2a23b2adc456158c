"""C13: the shipped rules for a resolver, in the real program; and what our own resolver asks for."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.doctor.dns import NXDOMAIN, ask
from tests.dns_server import AAAA, ADDRESS, HTTPS, SERVICE, SVCB, A, dns_server
from tests.ports import free_port

SNIPPET = Path(__file__).parents[2] / "compose" / "dns" / "dnsmasq.conf"
DNSMASQ = shutil.which("dnsmasq", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def dnsmasq(*options: str) -> Iterator[int]:
    port = free_port()
    command = [
        str(DNSMASQ),
        "--keep-in-foreground",
        "--no-hosts",
        "--no-resolv",
        f"--port={port}",
        "--listen-address=127.0.0.1",
    ]
    process = subprocess.Popen([*command, "--bind-interfaces", "--user=", "--pid-file=", *options])
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                ask("127.0.0.1", "ready.test", A, 1, port=port, seconds=0.2)
                break
            except OSError:
                assert process.poll() is None, "dnsmasq has ended"
                assert time.monotonic() < deadline, "dnsmasq does not answer"
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(DNSMASQ is None, reason="no dnsmasq here")
def test_c13_dnsmasq_leaves_out_https_records_and_nothing_else() -> None:
    with dns_server({A: ADDRESS, HTTPS: SERVICE, SVCB: SERVICE}) as upstream:
        server = f"--server=127.0.0.1#{upstream.port}"
        with dnsmasq(server) as plain:
            assert ask("127.0.0.1", "site.test", HTTPS, 1, port=plain).types == (HTTPS,), "without the rules they come through"
        with dnsmasq(server, f"--conf-file={SNIPPET}") as port:
            for kind in (HTTPS, SVCB):
                assert ask("127.0.0.1", "site.test", kind, 1, port=port).types == ()
            assert ask("127.0.0.1", "site.test", A, 1, port=port).types == (A,)
            assert ask("127.0.0.1", "use-application-dns.net", A, 1, port=port).code == NXDOMAIN


_RESOLVE = """
import asyncio, json
from concurrent.futures import ThreadPoolExecutor
from appliance.config.resolver import SystemResolver as Config
from appliance.domain.clock import SystemClock
from appliance.egress.resolver import SystemResolver
from tests.dns_server import ADDRESS, HTTPS, SERVICE, A, dns_server

with dns_server({A: ADDRESS, HTTPS: SERVICE}, port=53) as server, ThreadPoolExecutor(1) as pool:
    resolver = SystemResolver(Config(name="local", type="system"), pool, SystemClock())
    found = asyncio.run(resolver.resolve("site.test"))
print(json.dumps([list(found), sorted({kind for _, kind in server.asked})]))
"""


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a resolv.conf of its own")
def test_c13_our_own_resolver_asks_for_addresses_only(tmp_path: Path) -> None:
    """In a network and with a resolv.conf of its own, by the system's real resolver."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
    mounts = " && ".join(f"mount --bind {tmp_path / name} /etc/{name}" for name in ("resolv.conf", "nsswitch.conf"))
    script = f'ip link set lo up && {mounts} && exec "$0" -c "$1"'
    command = ["unshare", "--net", "--mount", "sh", "-c", script, sys.executable, _RESOLVE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (f'[["192.0.2.7"], [{A}, {AAAA}]]', f'[["192.0.2.7"], [{A}]]')
