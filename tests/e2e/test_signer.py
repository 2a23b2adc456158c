"""The signer in a running appliance: what it gives the workers, and what happens while it is away (TLS-04, TLS-07, TLS-08)."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from tests.e2e import sockets
from tests.e2e.counters import counter
from tests.e2e.running import ROOT, Running, base_config, running, wait_until
from tests.e2e.webserver import WebServer, webserver

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.xdist_group("e2e-signer")]

HOSTS = tuple(f"{name}.test" for name in ("shared", "cached", "killed", "during", "stopped", "later"))
CONNECTIONS = 24


type Webs = dict[str, WebServer]


@pytest.fixture(scope="module")
def webs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webs]:
    """A server for each host: hosts that share a certificate share a leaf, too."""
    with contextlib.ExitStack() as stack:
        yield {host: stack.enter_context(webserver(tmp_path_factory.mktemp("web"), names=(host,))) for host in HOSTS}


@pytest.fixture(scope="module")
def arcus(tmp_path_factory: pytest.TempPathFactory, webs: Webs) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("arcus")
    trust = {"ca_files": [str(web.ca_file) for web in webs.values()]}
    resolver = {"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in HOSTS}}
    auditor = {"name": "inspect", "tls_interception": {"upstream_trust": trust}}
    with running(base_config(place / "state", workers=2, auditor=[auditor], resolver=[resolver]), place) as appliance:
        yield appliance


def leaf(arcus: Running, webs: Webs, host: str) -> x509.Certificate:
    """What a client is shown, verified."""
    with (
        sockets.connect(arcus.port("explicit"), f"{host}:{webs[host].tls_port}") as tunnel,
        sockets.tls(tunnel, host, arcus.ca()) as sock,
    ):
        return x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")


def signer(arcus: Running) -> int:
    return int(wait_until(lambda: arcus.child_pids("signer"))[0])


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a network of its own")
def test_tls_08_the_doctor_has_a_leaf_signed_and_finds_nothing_wrong(arcus: Running) -> None:
    command = [sys.executable, "-m", "appliance.cli", "doctor", "-c", str(arcus.state.parent / "arcus.yaml"), "--json"]
    # in a network of its own it asks no resolver; the signer is reached through the file system
    done = subprocess.run(["unshare", "--net", *command], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    found = {each["what"]: each["level"] for each in json.loads(done.stdout)}
    assert {what: level for what, level in found.items() if what.startswith(("signer", "key files", "CA "))} == {
        "key files": "ok", "signer socket": "ok", "signer for default": "ok", "CA default": "ok",
    }  # fmt: skip


def test_tls_07_two_workers_show_one_leaf_that_was_signed_once(arcus: Running, webs: Webs) -> None:
    before, made = counter(arcus, "arcus_leaf_signed_total"), counter(arcus, "arcus_signer_leaves_total", "made")
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        serials = {each.serial_number for each in pool.map(lambda _: leaf(arcus, webs, "shared.test"), range(CONNECTIONS))}
    assert len(serials) == 1
    wait_until(lambda: counter(arcus, "arcus_leaf_cache_total", "hit") + 2 >= CONNECTIONS)
    assert counter(arcus, "arcus_leaf_signed_total") == before + 1
    assert counter(arcus, "arcus_signer_leaves_total", "made") == made + 1


def test_tls_05_a_worker_that_starts_anew_shows_the_same_leaf(arcus: Running, webs: Webs) -> None:
    before = leaf(arcus, webs, "cached.test").serial_number
    workers = set(arcus.child_pids("worker"))
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(arcus.child_pids("worker")) - workers) == 2)
    assert leaf(arcus, webs, "cached.test").serial_number == before


def test_tls_08_a_signer_that_dies_is_not_noticed(arcus: Running, webs: Webs) -> None:
    pid, restarts = signer(arcus), counter(arcus, "arcus_worker_restarts_total", "signer")
    os.kill(pid, signal.SIGKILL)
    assert leaf(arcus, webs, "killed.test").serial_number
    wait_until(lambda: counter(arcus, "arcus_worker_restarts_total", "signer") == restarts + 1)
    assert signer(arcus) != pid


def test_tls_08_while_the_signer_hangs_known_hosts_are_served_and_new_ones_fail_by_name(arcus: Running, webs: Webs) -> None:
    for _ in range(8):  # both workers know it
        leaf(arcus, webs, "cached.test")
    wait_until(lambda: counter(arcus, "arcus_signer_connections_active") == 2)
    with stopped(signer(arcus)):
        assert leaf(arcus, webs, "cached.test")
        url = f"https://during.test:{webs['during.test'].tls_port}/hello"
        assert arcus.curl("--cacert", arcus.ca(), url, check=False).status == 0
        event = arcus.event(reason="signer_unavailable")
        assert (event["destination_host"], event["action"]) == ("during.test", "block")
        assert not webs["during.test"].seen("/hello"), "nothing of the request went out"
        wait_until(lambda: states(arcus)["signer"] == "degraded")
    assert counter(arcus, "arcus_signer_questions_total", "signer_unavailable") >= 1
    assert leaf(arcus, webs, "later.test")
    wait_until(lambda: states(arcus)["signer"] == "ok", what="all is well again")


def states(arcus: Running) -> dict[str, str]:
    """The worst state of each component, over all workers."""
    found: dict[str, str] = {}
    for path in sorted((arcus.state / "run").glob("health-worker-*.json")):
        for name, item in json.loads(path.read_text())["components"].items():
            found[name] = max(found.get(name, ""), item["state"], key=("", "ok", "degraded", "unhealthy").index)
    return found


def test_tls_08_health_names_the_signer(arcus: Running) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{arcus.admin_port}/health", timeout=10) as answer:
        health = json.load(answer)
    assert "signer" in health["processes"]
    assert health["missing"] == []


@pytest.mark.security
def test_tls_08_the_socket_is_the_owners_and_no_process_dumps_core(arcus: Running) -> None:
    socket = arcus.state / "run" / "signer.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    kinds = ("signer", "worker", "admin")
    for pid in [arcus.process.pid, *(pid for kind in kinds for pid in arcus.child_pids(kind))]:
        limit = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line)
        assert limit.split()[4:6] == ["0", "0"]


def test_tls_15_the_leaves_that_clients_are_shown_can_be_looked_up(arcus: Running, webs: Webs) -> None:
    shown = leaf(arcus, webs, "shared.test")
    command = [sys.executable, "-m", "appliance.cli", "ca", "leaves", "-c", str(arcus.state.parent / "arcus.yaml")]

    def found(*more: str) -> str:
        return subprocess.run([*command, *more], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60).stdout

    (one,) = json.loads(found("--host", "shared.test", "--json"))
    assert (one["serial"], one["names"]) == (f"{shown.serial_number:x}", ["shared.test"])
    assert one["serial"] in found("--sha256", one["sha256"].upper())
    assert found("--host", "nobody.test") == "no certificates remembered that fit\n"


def test_err_12_sigterm_waits_for_the_workers(tmp_path: Path) -> None:
    with running(base_config(tmp_path / "state"), tmp_path) as arcus:
        assert arcus.stop(signal.SIGTERM) == 0
        assert "killed" not in (tmp_path / "arcus.log").read_text()
