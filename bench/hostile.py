"""``python -m bench.hostile [COUNT]``: 20,000 hosts through one worker, each with a bad certificate of its own.

What is looked for is memory that grows with hosts that nobody believes: what is remembered of their certificates, of
addresses that these name and that lead nowhere, of the leaves for the pages that say so. Prints one JSON object:
``kilobytes_per_1000`` is the slope of the worker's resident memory over the second half, ``answers`` how many were refused, by
reason.
"""

import collections
import contextlib
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL

from bench.measure import say
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import LEAF, Pair, Template, World
from tests.e2e import sockets
from tests.e2e.running import Running, base_config, running
from tests.tlslab.revocation import crl_at, issuer_at, ocsp_at

COUNT = 20_000
WIDTH = 4
"""Clients at a time."""
SAMPLES = 40

type Bad = Callable[[Template, World, int], tuple[Pair, list[Pair]]]
"""A host's certificate, and what else is sent."""


def _below(change: Callable[[Template, int], Template], *, sent: bool = True, stranger: bool = False) -> Bad:
    def make(template: Template, world: World, number: int) -> tuple[Pair, list[Pair]]:
        issuer = world.stranger if stranger else world.intermediate
        return forge.issue(change(template, number), issuer), [issuer] if sent else []

    return make


KINDS: tuple[Bad, ...] = (
    _below(lambda leaf, _: leaf.but(end=forge.NOW - timedelta(days=1))),
    _below(lambda leaf, _: leaf, stranger=True),
    _below(lambda leaf, number: leaf.but(names=[x509.DNSName(f"other-{number}.test")])),
    _below(lambda leaf, _: leaf.but(key=forge.rsa_key(1024))),
    _below(lambda leaf, number: leaf.but(extra=(issuer_at(f"http://10.0.0.1/{number}.cer"),)), sent=False),
    _below(
        lambda leaf, number: leaf.but(extra=(ocsp_at(f"http://10.0.0.1/{number}"), crl_at(f"http://10.0.0.1/{number}.crl")))
    ),
    _below(lambda leaf, _: leaf.but(ca=True)),
    lambda leaf, _world, _number: (forge.issue(leaf, None), []),
)


def origin(listener: socket.socket, told: Connection) -> None:
    """A process of its own: every server, by the name that it is asked for."""
    world = forge.world(datetime.now(UTC).replace(microsecond=0) - forge.NOW)
    told.send_bytes(pem(world.root))
    with ThreadPoolExecutor(2 * WIDTH) as pool:
        while True:
            pool.submit(_converse, listener.accept()[0], world)


def _converse(sock: socket.socket, world: World) -> None:
    with sock, contextlib.suppress(SSL.Error, OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, (20).to_bytes(8, "little") + bytes(8))
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_tlsext_servername_callback(lambda connection: connection.set_context(_context(connection, world)))
        connection = SSL.Connection(context, sock)
        connection.set_accept_state()
        connection.do_handshake()
        connection.recv(65536)


def _context(connection: SSL.Connection, world: World) -> SSL.Context:
    host = (connection.get_servername() or b"host-0.test").decode("ascii")
    number = int(host.split("-")[1].partition(".")[0])
    template = LEAF.but(common_name=host, names=[x509.DNSName(host)], serial=number + 1)
    leaf, chain = KINDS[number % len(KINDS)](template, world, number)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.use_certificate(leaf.certificate)
    context.use_privatekey(leaf.key)
    for each in chain:
        context.add_extra_chain_cert(each.certificate)
    return context


@contextlib.contextmanager
def appliance(folder: Path) -> Iterator[tuple[Running, int]]:
    """One worker before all of the hosts, and their port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=origin, args=(listener, there), daemon=True)
    process.start()
    try:
        roots = folder / "roots.pem"
        roots.write_bytes(here.recv_bytes())
        interception = {
            "upstream_trust": {"ca_files": [str(roots)], "system_roots": False},
            "upstream_certificates": {"revocation": {"ocsp": "hard", "crl": "soft"}},
        }
        config = base_config(folder / "state", auditor=[{"name": "inspect", "tls_interception": interception}])
        with running(config, folder) as arcus:
            yield arcus, listener.getsockname()[1]
    finally:
        process.kill()
        listener.close()


def ask(arcus: Running, port: int, number: int, context: Any) -> str:
    """The reason for which a host was refused, or ``ok``."""
    try:
        with sockets.dial(arcus.port("explicit")) as tunnel:
            tunnel.sendall(f"CONNECT origin.test:{port} HTTP/1.1\r\nHost: origin.test:{port}\r\n\r\n".encode())
            sockets.read_until(tunnel, b"\r\n\r\n")
            host = f"host-{number}.test"
            with context.wrap_socket(tunnel, server_hostname=host) as inside:
                inside.sendall(f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                return str(sockets.read_response(inside)[1].get("x-arcus-reason", "ok"))
    except (OSError, AssertionError) as error:
        return type(error).__name__


def run(folder: Path, count: int) -> dict[str, Any]:
    """Figures: see above."""
    with appliance(folder) as (arcus, port):
        context, worker = sockets.trusting(arcus.ca()), arcus.child_pids("worker")[0]
        answers: collections.Counter[str] = collections.Counter()
        samples: list[tuple[int, int]] = []
        began, lock = time.monotonic(), threading.Lock()

        def one(number: int) -> None:
            answer = ask(arcus, port, number, context)
            with lock:
                answers[answer] += 1

        with ThreadPoolExecutor(WIDTH) as pool:
            for step in range(SAMPLES):
                for _ in pool.map(one, range(count * step // SAMPLES, count * (step + 1) // SAMPLES)):
                    pass
                samples.append((count * (step + 1) // SAMPLES, resident(worker)))
                say(f"bench: {samples[-1][0]} hosts, {samples[-1][1] / 1e6:.0f} MB")
        return {
            "hosts": count,
            "seconds": time.monotonic() - began,
            "answers": dict(answers),
            "first_megabytes": samples[0][1] / 1e6,
            "middle_megabytes": samples[SAMPLES // 2][1] / 1e6,
            "last_megabytes": samples[-1][1] / 1e6,
            "kilobytes_per_1000": slope(samples[SAMPLES // 2 :]),
        }


def slope(samples: list[tuple[int, int]]) -> float:
    """Least squares, in kilobytes for each thousand hosts."""
    hosts, octets = [each[0] for each in samples], [each[1] for each in samples]
    middle, level = sum(hosts) / len(hosts), sum(octets) / len(octets)
    above = sum((host - middle) * (octet - level) for host, octet in samples)
    return above / sum((host - middle) ** 2 for host in hosts)


def resident(pid: int) -> int:
    """Octets."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="arcus-bench-hostile-") as folder:
        print(json.dumps(run(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else COUNT), indent=1))


if __name__ == "__main__":
    main()
