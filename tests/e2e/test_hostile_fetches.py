"""C11, C18: what certificates name is fetched, and a server that writes its own certificate reaches nothing by it: no address
inside, no listener of ours, no memory and no time beyond what is configured."""

import contextlib
import itertools
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF
from tests.e2e.lab import Place
from tests.e2e.running import base_config, running
from tests.tlslab.case import Expect, Lab, LabCase, Plain
from tests.tlslab.revocation import crl_at, issuer_at, ocsp_at
from tests.tlslab.serving import serving

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-hostile-fetches")]

MAX_SIZE = 1024 * 1024
TIMEOUT = 2.0
ALLOWED, INSIDE = "127.0.0.2", "127.0.0.1"
"""What may be fetched from, and what may not; both are loopback, so that nothing else tells them apart."""
SPELLINGS = [
    "127.0.0.1:{inside}", "localhost:{inside}", "2130706433:{inside}", "0x7f000001:{inside}", "0177.0.0.1:{inside}",
    "127.1:{inside}", "0.0.0.0:{inside}", "[::ffff:127.0.0.1]:{inside}", "[::]:{inside}", "127.0.0.3:{inside}",
    "rebinding.test:{inside}", "user@127.0.0.1:{inside}", "127.0.0.2@127.0.0.1:{inside}", "127.0.0.1.:{inside}",
    "169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "127.0.0.1:{proxy}", "127.0.0.1:{admin}",
]  # fmt: skip
WAYS: dict[str, tuple[Callable[[str], Any], ...]] = {"issuer": (issuer_at,), "revocation": (ocsp_at, crl_at)}
_numbers = itertools.count(0x50000)


class Listening(socketserver.ThreadingTCPServer):
    """Counts who comes, and answers with ``script``."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, address: str, script: "Callable[[Listening, Any], None]") -> None:
        super().__init__((address, 0), _Handler)
        self.script = script
        self.came, self.sent = 0, 0
        self.inside = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(socketserver.StreamRequestHandler):
    server: Listening

    def handle(self) -> None:
        self.server.came += 1
        self.server.script(self.server, self)


def _found(server: Listening, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def _hostile(server: Listening, handler: Any) -> None:
    """By the path of the request."""
    path = handler.rfile.readline().split(b" ")[1].decode("latin-1").split("/")[1]
    with contextlib.suppress(OSError):  # we were left, as we should be
        _SCRIPTS[path](server, handler)


def _pour(server: Listening, handler: Any, head: bytes, block: bytes) -> None:
    handler.wfile.write(head)
    while server.sent < 64 * MAX_SIZE:
        handler.wfile.write(block)
        server.sent += len(block)


def _drip(server: Listening, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    stop = threading.Event()
    while not stop.wait(0.2):
        handler.wfile.write(b"x")
        server.sent += 1


def _redirect(server: Listening, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % server.inside)


def _circle(server: Listening, handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /circle\r\nContent-Length: 0\r\n\r\n")


_BLOCK = b"x" * 65536
_SCRIPTS: dict[str, Callable[[Listening, Any], None]] = {
    "endless": lambda server, handler: _pour(server, handler, b"HTTP/1.1 200 OK\r\n\r\n", _BLOCK),
    "large": lambda server, handler: _pour(server, handler, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", _BLOCK),
    "chunks": lambda server, handler: _pour(
        server, handler, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 8000
    ),
    "head": lambda server, handler: _pour(server, handler, b"HTTP/1.1 200 OK\r\n", b"X-Y: " + _BLOCK + b"\r\n"),
    "drip": _drip,
    "redirect": _redirect,
    "circle": _circle,
}


@dataclass
class Stage:
    place: Place
    inside: Listening
    hostile: Listening
    cases: dict[str, LabCase] = field(default_factory=dict)

    @property
    def worker(self) -> int:
        return self.place.arcus.child_pids("worker")[0]


@contextmanager
def listening(address: str, script: Callable[[Listening, Any], None]) -> Iterator[Listening]:
    server = Listening(address, script)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def case(name: str, way: str, url: str) -> LabCase:
    """A server whose certificate is good but for what it names: below a trusted CA, which it need not be for an issuer."""

    def serve(lab: Lab) -> Plain:
        issuer = lab.world.intermediate
        leaf = forge.issue(LEAF.but(serial=next(_numbers), extra=tuple(at(url) for at in WAYS[way])), issuer)
        return Plain(leaf, [] if way == "issuer" else [issuer])

    return LabCase("hostile", f"{way} {name}", Expect.SHOULD_REFUSE, "", serve)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("hostile")
    with listening(INSIDE, _found) as inside, listening(ALLOWED, _hostile) as hostile:
        hostile.inside = inside.port
        config = base_config(folder / "state")
        ports = {
            "inside": inside.port,
            "proxy": config["server"][0]["listen"]["address"].rpartition(":")[2],
            "admin": config["admin"]["listen"]["address"].rpartition(":")[2],
        }
        cases = [case(text, way, f"http://{text.format(**ports)}/x.cer") for way in WAYS for text in SPELLINGS]
        cases += [case(path, way, f"http://{ALLOWED}:{hostile.port}/{path}/") for way in WAYS for path in _SCRIPTS]
        with serving(cases, folder) as lab, running(config | _sections(folder, lab.roots, lab.hosts), folder) as arcus:
            yield Stage(Place(arcus, lab), inside, hostile, {each.name: each for each in cases})


def _sections(folder: Path, roots: Path, hosts: list[str]) -> dict[str, Any]:
    names = {host: ["127.0.0.1"] for host in hosts} | {"rebinding.test": [ALLOWED, INSIDE]}
    asking = {
        "revocation": {"ocsp": "soft", "crl": "soft"},
        "fetch": {"networks": [f"{ALLOWED}/32"], "timeout": f"{TIMEOUT:g}s", "max_size": MAX_SIZE},
    }
    trust = {"ca_files": [str(roots)], "system_roots": False}
    interception = {"upstream_trust": trust, "upstream_certificates": asking}
    return {
        "resolver": [{"name": "local", "type": "system", "hosts": names}],
        "auditor": [{"name": "inspect", "tls_interception": interception}],
    }


def ended(stage: Stage, name: str) -> tuple[int, str]:
    """Status and what the record says of what was looked for."""
    made = stage.cases[name]
    shown = stage.place.ask(made)
    return shown.status, str(stage.place.record(made)["server_tls"].get("revocation", ""))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", SPELLINGS)
def test_c11_c18_no_certificate_sends_us_inside(stage: Stage, way: str, text: str) -> None:
    """C11: whatever way out the tenant has, and however the address is written."""
    status, said = ended(stage, f"{way} {text}")
    assert stage.inside.came == 0
    if way == "issuer":
        assert status == 502
    else:
        assert (status, said.startswith("unknown")) == (200, True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", _SCRIPTS)
def test_c11_c18_no_answer_takes_more_than_it_may(stage: Stage, way: str, path: str) -> None:
    """C18: bytes, time, memory and redirects have their ends; the client is served when those have come."""
    before, came, sent = resident(stage.worker), stage.hostile.came, stage.hostile.sent
    status, said = ended(stage, f"{way} {path}")
    assert stage.hostile.came > came, "it was asked"
    assert stage.inside.came == 0
    assert stage.hostile.came - came <= 8
    assert stage.hostile.sent - sent < 16 * MAX_SIZE, "what was sent fits the limit and the sockets' buffers"
    assert resident(stage.worker) - before < 24 * MAX_SIZE
    if way == "issuer":
        assert status == 502
    else:
        assert (status, said.startswith("unknown")) == (200, True)


def resident(pid: int) -> int:
    """Octets."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
