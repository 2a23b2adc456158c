"""The key of a CA is in its directory and in the signer, and nowhere else (C21, TLS-08).

Every form in which it could lie about is searched for: PEM, DER, and its secret numbers as they are and as OpenSSL keeps
them. That the search finds what is there is shown each time by the signer.
"""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.e2e.running import ROOT, Running, base_config, running, wait_until
from tests.e2e.webserver import WebServer, webserver
from tests.ports import free_port
from tests.security.memory import forms, held, in_files

pytestmark = [
    pytest.mark.security,
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to look into processes"),
    pytest.mark.xdist_group("e2e-ca-key"),
]

KINDS = ("ec-p256", "ec-p384", "rsa-2048")


@dataclass
class Place:
    arcus: Running
    web: WebServer
    directory: Path
    needles: dict[str, dict[str, bytes]]
    """For each CA."""

    @property
    def all(self) -> dict[str, bytes]:
        return {f"{ca} {form}": needle for ca, found in self.needles.items() for form, needle in found.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("key")
    with webserver(tmp_path_factory.mktemp("web")) as web, running(_config(directory, web), directory) as arcus:
        _use(arcus, web)
        files = {kind: arcus.state / "ca" / kind / "ca.key" for kind in KINDS}
        files["forward-untrust"] = arcus.state / "untrusted-ca" / "forward-untrust" / "ca.key"
        keys = {name: load_pem_private_key(file.read_bytes(), None) for name, file in files.items()}
        yield Place(arcus, web, directory, {name: forms(key) for name, key in keys.items()})  # type: ignore[arg-type]


def _config(directory: Path, web: WebServer) -> dict[str, object]:
    trust = {"ca_files": [str(web.ca_file)]}
    shown = {"causes": {"untrusted": "untrusted_ca"}}
    trusting = {"name": "inspect", "tls_interception": {"upstream_trust": trust, "upstream_certificates": shown}}
    tenants = [
        {
            "tenant_id": kind if number else "default", "ca": kind, "auditor": "inspect", "escaper": "direct",
            "match": {"networks": [f"127.0.{number}.0/24"]} if number else {},
        }
        for number, kind in enumerate(KINDS)
    ]  # fmt: skip
    icap = {"listen": {"address": f"127.0.0.1:{free_port()}"}, "scanner": {"type": "clamd", "socket": "/nowhere/clamd"}}
    cas = [{"name": kind, "key": kind} for kind in KINDS]
    return base_config(
        directory / "state", workers=2, ca=cas, tenant=tenants, auditor=[trusting], icap_server=icap, log={"level": "debug"}
    )


def _use(arcus: Running, web: WebServer) -> None:
    """Every CA signs, ECDSA and RSA leaves, in both workers."""

    def get(number: int) -> int:
        kind = KINDS[number % len(KINDS)]
        source = ["--interface", f"127.0.{number % len(KINDS)}.1"] if number % len(KINDS) else []
        return arcus.curl("--cacert", arcus.ca(kind), *source, f"{web.tls_url}/hello").status

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(get, range(18))) == {200}


def test_tls_08_the_search_finds_the_keys_in_the_signer(place: Place) -> None:
    (pid,) = place.arcus.child_pids("signer")
    for kind, needles in place.needles.items():
        assert held(pid, needles), f"the key of {kind} must be found where it is"


@pytest.mark.parametrize("kind", ["parent", "worker", "admin", "icap"])
def test_tls_08_no_other_process_holds_a_key(place: Place, kind: str) -> None:
    pids = [place.arcus.process.pid] if kind == "parent" else place.arcus.child_pids(kind)
    assert len(pids) == (2 if kind == "worker" else 1)
    assert {pid: held(pid, place.all) for pid in pids} == {key: set() for key in pids}


def test_tls_08_the_search_finds_a_key_in_a_worker_that_signs_itself(tmp_path: Path) -> None:
    """And says so for the configuration that chose it."""
    config = base_config(tmp_path / "state", ca=[{"name": "default", "signer": "in_process"}])
    with running(config, tmp_path) as arcus:
        assert arcus.child_pids("signer") == []
        key = load_pem_private_key((arcus.state / "ca" / "default" / "ca.key").read_bytes(), None)
        assert held(arcus.child_pids("worker")[0], forms(key))  # type: ignore[arg-type]
        assert held(arcus.process.pid, forms(key)) == set()  # type: ignore[arg-type]


def test_tls_08_no_file_outside_the_directory_of_the_ca_holds_a_key(place: Place) -> None:
    """State (spool, audit database and lines, metrics, health, locks), logs at their most talkative, and the configuration."""
    wait_until(lambda: place.arcus.events(reason="ok"))
    own = place.arcus.state / "untrusted-ca" / "forward-untrust" / "ca.key"
    assert set(in_files(place.directory, place.all, place.arcus.state / "ca")) == {own}
    homes = in_files(place.directory, place.all, place.directory / "none")
    assert sorted(path.name for path in homes) == ["ca.key"] * (len(KINDS) + 1)


def test_tls_08_no_answer_of_the_admin_listener_holds_a_key(place: Place) -> None:
    token = (place.directory / "arcus.log").read_text().partition("admin token")[2].split()[0]
    paths = ["/", "/metrics", "/health", "/ready", "/audit", "/tenants", "/api/v1/tenants", "/api/v1/audit", "/api/v1/config"]
    for kind in KINDS:
        paths += [f"/ca/{kind}.{form}" for form in ("pem", "der", "crt", "p12", "key")]
    for path in paths:
        request = urllib.request.Request(
            f"http://127.0.0.1:{place.arcus.admin_port}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        assert not [name for name, needle in place.all.items() if needle in body], path
        assert b"PRIVATE KEY" not in body


def test_tls_08_a_backup_tells_no_key_without_its_passphrase(place: Place) -> None:
    out = place.directory / "cas.backup"
    command = [
        sys.executable,
        "-m",
        "appliance.cli",
        "ca",
        "backup",
        "-c",
        str(place.directory / "arcus.yaml"),
        "--out",
        str(out),
    ]
    done = subprocess.run(
        [*command, "--passphrase-stdin"], input="correct horse battery", capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    data = out.read_bytes()
    out.unlink()
    assert not [name for name, needle in place.all.items() if needle in data]
    assert b"PRIVATE" not in data


def test_tls_08_nobody_of_the_same_account_may_look_into_the_signer(place: Place) -> None:
    """PR_SET_DUMPABLE 0 makes a process's files in /proc root's, whoever runs it; nor does it leave a core dump."""
    (pid,) = place.arcus.child_pids("signer")
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
