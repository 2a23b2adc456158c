"""`arcus icap serve` as processes: squid with the configuration of docs/icap.md, all its doors, and a worker that dies."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from appliance.domain.verdict import Outcome
from icap.client import IcapService, Tuning
from icap.client.tls import client_context
from tests.e2e.running import START, wait_until
from tests.icap.client.messages import download, told
from tests.lifetime import with_us
from tests.ports import free_port
from tests.proxies import Peer, nginx, squid
from tests.servers import EICAR, EICAR_NAME, Clamd, clamd

pytestmark = [pytest.mark.e2e, pytest.mark.integration]
DOCS = Path(__file__).parents[2] / "docs" / "icap.md"


@dataclass
class Serving:
    process: subprocess.Popen[str]
    directory: Path
    port: int
    tls_port: int

    @property
    def unix(self) -> Path:
        return self.directory / "icap.sock"

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def workers(self) -> list[int]:
        """Process ids."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"\0icap\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Clamd]:
    with clamd() as found:
        yield found


@pytest.fixture(scope="module")
def server(daemon: Clamd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    directory = tmp_path_factory.mktemp("icap")
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    leaf.private_key_pem.write_to_path(directory / "key.pem")
    (directory / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    found = Serving(None, directory, free_port(), free_port())  # type: ignore[arg-type]
    (directory / "icap.yaml").write_text(f"""
state_dir: state
icap_server:
  listen: {{address: "127.0.0.1:{found.port}"}}
  tls: {{listen: {{address: "127.0.0.1:{found.tls_port}"}}, certificate: cert.pem, private_key: key.pem}}
  unix: {{path: icap.sock, mode: "0666"}}
  workers: 2
  scanner: {{type: clamd, socket: {daemon.socket}}}
""")
    with running(directory, "-c", str(directory / "icap.yaml")) as found.process:
        yield found


@contextlib.contextmanager
def running(directory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    log = directory / "log"
    with log.open("w") as output:
        command = with_us(sys.executable, "-m", "appliance.cli", "icap", "serve", *options)
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, cwd=Path(__file__).parents[2])
    try:
        wait_until(lambda: "arcus: ready" in log.read_text() or process.poll() is not None, START, "arcus: ready")
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    assert "arcus: stopped" in log.read_text()


@contextlib.contextmanager
def proxied(snippet: str, directory: Path) -> Iterator[tuple[Peer, Peer]]:
    with (
        nginx(server=f"root {directory}; location /up {{ return 200; }}") as origin,
        squid(extra=snippet, hosts={"localhost": "127.0.0.1"}) as proxy,
    ):
        yield proxy, origin


def documented(section: str) -> str:
    """The squid configuration that the page shows."""
    found = re.search(r"```squid\n(.*?)```", DOCS.read_text().partition(section)[2], re.DOTALL)
    assert found
    return found[1]


def fetch(proxy: Peer, url: str, *options: str) -> tuple[int, bytes]:
    command = ["curl", "-s", "-m", "40", "-x", f"http://127.0.0.1:{proxy.port}", "-w", "\n%{http_code}", *options, url]
    body, _, status = subprocess.run(command, capture_output=True, check=True).stdout.rpartition(b"\n")
    return int(status), body


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    (directory / "eicar.com").write_bytes(EICAR)
    (directory / "clean.bin").write_bytes(bytes(range(256)) * 200)
    return directory


@pytest.fixture
def readable_by_all() -> Iterator[Path]:
    """squid reads as another user, and pytest's folders are ours alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("door", ["plain", "tls"])
def test_icp_12_squid_as_the_documentation_has_it(server: Serving, files: Path, door: str, readable_by_all: Path) -> None:
    """ICAP-C45: over TLS, too."""
    snippet = documented("### squid")
    if door == "plain":
        snippet = snippet.replace("127.0.0.1:1344", f"127.0.0.1:{server.port}")
    else:
        tls = f"bypass=off tls-cafile={readable_by_all / 'ca.pem'}"
        snippet = snippet.replace("icap://127.0.0.1:1344", f"icaps://localhost:{server.tls_port}").replace("bypass=off", tls)
        (readable_by_all / "ca.pem").write_bytes(server.ca.read_bytes())
    with proxied(snippet, files) as (proxy, origin):
        base = f"http://127.0.0.1:{origin.port}"
        status, body = fetch(proxy, f"{base}/eicar.com")
        assert (status, EICAR_NAME.encode() in body, EICAR in body) == (403, True, False)
        assert fetch(proxy, f"{base}/clean.bin") == (200, (files / "clean.bin").read_bytes())
        assert fetch(proxy, f"{base}/up", "--data-binary", f"@{files / 'eicar.com'}")[0] == 403
        assert not origin.log("POST /up", seconds=0)


async def test_icp_12_all_doors_and_all_workers_say_the_same(server: Serving) -> None:
    """ICAP-S03: one ISTag, whichever worker answers."""
    uris = [
        f"icap://127.0.0.1:{server.port}/respmod",
        f"icaps://localhost:{server.tls_port}/respmod",
        f"icap+unix://{server.unix}:/respmod",
    ]
    tags = set()
    for uri in uris * 8:  # a connection each: the kernel spreads them over the workers
        service = IcapService(uri, tls=client_context(server.ca))
        infected, clean = await service.adapt(download(EICAR)), await service.adapt(download(b"clean"))
        assert (told(infected), told(clean)) == ((Outcome.BLOCKED, "malware_found"), (Outcome.CLEAN, "ok"))
        tags.add(infected.verdict.istag)
        await service.close()
    assert len(tags) == 1


async def test_icp_12_a_worker_that_dies_is_replaced(server: Serving) -> None:
    """Connections that wait in its queue are taken by its successor."""
    before = server.workers()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    patient = Tuning(options_timeout=60, stall_timeout=60, first_byte_timeout=60)  # the successor has to start first
    for _ in range(20):
        service = IcapService(f"icap://127.0.0.1:{server.port}/respmod", timeout=60, connect_timeout=30, tuning=patient)
        assert told(await service.adapt(download(b"clean"))) == (Outcome.CLEAN, "ok")
        await service.close()
    await asyncio.to_thread(wait_until, lambda: len(server.workers()) == 2, START, "two workers")
    assert before[0] not in server.workers()


def test_options_instead_of_a_file_and_a_port_that_is_taken(server: Serving, daemon: Clamd, tmp_path: Path) -> None:
    port = free_port()
    options = ("--clamd", str(daemon.socket), "--state", str(tmp_path / "state"))
    with running(tmp_path, "--listen", f"127.0.0.1:{port}", *options):
        done = subprocess.run(
            [sys.executable, "-m", "appliance.cli", "icap", "serve", "--listen", f"127.0.0.1:{port}", *options[:2], "--state",
             str(tmp_path / "other")],
            capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert done.returncode == 1
        assert f"127.0.0.1:{port}" in done.stderr
        assert "choose another port" in done.stderr


@pytest.mark.parametrize("options", [("--clamd", "nonsense"), ("--listen", "nonsense"), ("--workers", "0"), ("-c", "/none")])
def test_wrong_use_is_told_in_a_line(options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "appliance.cli", "icap", "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert done.stderr


async def test_icp_12_a_unix_socket_alone_and_a_log_that_holds_nothing_else(daemon: Clamd, tmp_path: Path) -> None:
    """What is for a person is on standard error, so that every line of the log is JSON."""
    (tmp_path / "icap.yaml").write_text(f"""
state_dir: state
log: {{level: debug}}
icap_server:
  unix: {{path: icap.sock}}
  scanner: {{type: clamd, socket: {daemon.socket}}}
""")
    command = [sys.executable, "-m", "appliance.cli", "icap", "serve", "-c", str(tmp_path / "icap.yaml")]
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(with_us(*command), stdout=stdout, stderr=stderr, cwd=Path(__file__).parents[2])
    try:
        await asyncio.to_thread(wait_until, lambda: "arcus: ready" in err.read_text(), START, "arcus: ready")
        service = IcapService(f"icap+unix://{tmp_path / 'icap.sock'}:/respmod")
        assert told(await service.adapt(download(EICAR))) == (Outcome.BLOCKED, "malware_found")
        await service.close()
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert {json.loads(line)["level"] for line in out.read_text().splitlines()}
    assert "icap+unix://" in err.read_text()
    assert "icap://" not in err.read_text()
