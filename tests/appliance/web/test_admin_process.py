"""The admin process as it runs: uvicorn on a real socket, a real spool, real signals."""

import http.client
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.app.admin import host_names
from appliance.app.paths import StatePaths
from appliance.audit.recorder import Recorder
from appliance.audit.spool import Spool
from appliance.config.values import Listen
from appliance.control import token
from appliance.telemetry.health import HealthWriter
from certs.authority import load_or_create
from tests.appliance.audit.samples import full_task

pytestmark = pytest.mark.integration

CONFIG = """
state_dir: {state}
workers: 1
ca: [{{name: main, common_name: Test CA}}]
escaper: [{{name: direct, type: direct_fixed}}]
auditor: [{{name: plain}}]
tenant: [{{tenant_id: default, ca: main, auditor: plain, escaper: direct}}]
server:
  - {{name: explicit, type: http_proxy, listen: {{address: "127.0.0.1:0"}}, timeouts: {{drain: 30s}}}}
admin: {{listen: {{address: "127.0.0.1:0"}}, names: [arcus.example.com]}}
"""


class Admin:
    def __init__(self, folder: Path) -> None:
        self.paths = StatePaths(folder / "state")
        self.paths.create()
        load_or_create(self.paths.ca, "main", "Test CA", "ec-p256", 365)
        self.token = token.ensure(self.paths.admin_token) or ""
        config = folder / "arcus.yaml"
        config.write_text(CONFIG.format(state=self.paths.root))
        command = [sys.executable, "-m", "tests.appliance.web.admin_child", str(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"} | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[1])

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    made = Admin(tmp_path)
    try:
        yield made
    finally:
        made.end()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def stored(paths: StatePaths) -> int:
    with closing(sqlite3.connect(f"file:{paths.audit_db}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM audit_logs").fetchone()[0])


def record(paths: StatePaths, count: int, name: int = 0) -> None:
    spool = Spool(paths.spool, name, 1 << 30)
    recorder = Recorder(spool, [])
    for _ in range(count):
        now = time.time()
        recorder.record(full_task(started=now, ended=now))
    spool.close()


def test_records_of_workers_come_to_the_pages_and_the_file(admin: Admin) -> None:
    record(admin.paths, 5)
    until(lambda: len(admin.json("/audit.json")["events"]) == 5)
    until(lambda: len(admin.paths.audit_lines.read_bytes().splitlines()) == 5)
    event = admin.json("/api/v1/audit")["events"][0]
    status, page = admin.get(f"/audit/{event['id']}", {"Accept": "text/html"})
    assert status == 200
    assert b"Eicar-Test-Signature" in page
    until(lambda: b'arcus_audit_sink_events_total{sink="store"} 5.0' in admin.get("/metrics")[1])


def test_the_ca_is_served_without_its_key(admin: Admin) -> None:
    status, pem = admin.get("/ca/default.pem")
    assert status == 200
    assert pem == (admin.paths.ca / "main" / "ca.pem").read_bytes()
    assert pem.count(b"BEGIN") == 1
    assert b"PRIVATE" not in pem
    tenant = admin.json("/tenants.json")["tenants"][0]
    assert len(tenant["ca"]["sha256"].split(":")) == 32


def test_health_and_readiness_by_real_files(admin: Admin) -> None:
    status, body = admin.get("/health")
    assert status == 503
    assert set(json.loads(body)["missing"]) >= {"worker-0", "parent"}
    assert admin.get("/ready")[0] == 503
    for name in ("worker-0", "parent", "signer"):
        HealthWriter(admin.paths.run, name).heartbeat()
    until(lambda: admin.get("/health")[0] == 200)
    assert admin.get("/ready")[0] == 200


@pytest.mark.security
def test_hosts_are_the_listener_and_the_names_of_the_configuration(admin: Admin) -> None:
    assert admin.get("/health", {"Host": "evil.test"})[0] == 421
    assert admin.get("/ready", {"Host": f"arcus.example.com:{admin.port}"})[0] == 503
    assert admin.get("/audit.json", {"Authorization": "Bearer x"})[0] == 401


@pytest.mark.security
def test_forwarded_addresses_are_not_believed(admin: Admin) -> None:
    wrong = {"Authorization": "Bearer x"}
    statuses = [admin.get("/audit.json", wrong | {"X-Forwarded-For": f"192.0.2.{number}"})[0] for number in range(11)]
    assert statuses == [401] * 10 + [429]


@pytest.mark.security
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_strange_requests_get_an_error_and_the_next_client_is_served(admin: Admin, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", admin.port), 30) as connection:
        connection.sendall(request_bytes)
        answer = connection.recv(65_536)
    assert answer.split(b" ")[1] in (b"400", b"415", b"421", b"431")
    assert admin.get("/audit.json")[0] == 200


def test_sigterm_waits_for_the_workers_and_stores_their_last_records(admin: Admin) -> None:
    worker = HealthWriter(admin.paths.run, "worker-0")
    worker.heartbeat()
    until(lambda: admin.get("/ready")[0] == 200)
    admin.process.send_signal(signal.SIGTERM)
    until(lambda: admin.json("/ready")["draining"])
    assert admin.get("/ready")[0] == 503
    record(admin.paths, 3)
    assert admin.process.poll() is None
    worker.remove()
    assert admin.process.wait(60) == 0
    assert stored(admin.paths) == 3
    assert not (admin.paths.run / "health-admin.json").exists()


def test_sigint_does_not_wait_for_workers(admin: Admin) -> None:
    HealthWriter(admin.paths.run, "worker-0").heartbeat()
    until(lambda: admin.get("/ready")[0] == 200)
    record(admin.paths, 2)
    admin.process.send_signal(signal.SIGINT)
    assert admin.process.wait(60) == 0
    assert stored(admin.paths) == 2


@pytest.mark.parametrize(
    ("address", "names", "any_address"),
    [
        ("127.0.0.1:9090", {"127.0.0.1"}, False),
        ("192.0.2.1:1", {"192.0.2.1"}, False),
        ("0.0.0.0:1", set(), True),
        ("[::]:1", set(), True),
    ],
)
def test_host_names_of_a_listener(address: str, names: set[str], any_address: bool) -> None:
    hosts = host_names(Listen(address=address), ["arcus.example.com"])
    assert {"localhost", "arcus.example.com", *names} <= hosts.names
    assert "evil.test" not in hosts.names
    assert hosts.any_address is any_address
