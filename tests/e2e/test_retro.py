"""D6: retro-hunt through the whole appliance: what was delivered clean is found bad later, and the alert names the flows."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.retro import Body
from appliance.storage.retro import RetroLedger
from appliance.storage.retro_search import RetroSearch
from appliance.storage.sqlite import SqliteStore
from tests.e2e.records import record
from tests.e2e.running import Running, base_config, running, wait_until
from tests.e2e.scanners import auditor
from tests.e2e.webserver import WebServer, payload, webserver
from tests.ports import free_port
from tests.servers import Clamd, clamd

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

OTHER = "127.0.0.2"
"""A client of another tenant."""


@dataclass
class Lab:
    appliance: Running
    web: WebServer
    clamd: Clamd
    hashes: Path
    asked: list[str] = field(default_factory=list)

    def get(self, path: str, *sources: str) -> list[dict[str, Any]]:
        """Fetch it from each of these addresses: the records."""
        found = []
        for source in sources:
            each = f"{path}?{len(self.asked)}."
            self.asked.append(each)
            answer = self.appliance.curl("--interface", source, "--cacert", self.appliance.ca(), self.web.tls_url + each)
            assert answer.status == 200
            found.append(record(self.appliance, each))
        return found

    def command(self, *words: str) -> Any:
        done = self.appliance.arcus("retro", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def alerts(self, sha256: str) -> list[dict[str, Any]]:
        return [each for each in self.appliance.events(kind="retro") if each["retro"]["sha256"] == sha256]

    def known(self, sha256: str, deliveries: int) -> None:
        """The ledger has so many flows of it."""

        def count() -> bool:
            return sum(body["deliveries"] for body in self.command("run", "--sha256", sha256)) == deliveries

        wait_until(count, what="the ledger knows the flows")

    def sampled(self, sha256: str, tenant: str = "default") -> str:
        """The id of its sample, once it is on disk and in the ledger."""

        def found() -> str:
            bodies = self.command("run", "--sha256", sha256, "--tenant", tenant)
            number = str(bodies[0]["sample"]) if bodies else ""
            return number if (self.appliance.state / "samples" / tenant / (number or "-")).exists() else ""

        number: str = wait_until(found, what="the sample is kept")
        return number

    def sign(self, name: str, body: bytes) -> None:
        """A signature of one's own for clamd, in use on return."""
        database = self.clamd.base / "db" / "own.hdb"
        before = database.read_text() if database.exists() else ""
        database.write_text(f"{before}{hashlib.md5(body, usedforsecurity=False).hexdigest()}:{len(body)}:{name}\n")
        assert self.clamd.command("RELOAD") == "RELOADING"
        wait_until(lambda: name in self.scan(body), what="clamd has loaded it")

    def scan(self, body: bytes) -> str:
        with socket.create_connection(("127.0.0.1", self.clamd.port), 10) as connection:
            connection.sendall(b"zINSTREAM\0" + len(body).to_bytes(4) + body + bytes(4))
            return connection.recv(4096).decode()

    def list_also(self, *lines: str) -> None:
        self.hashes.write_text(self.hashes.read_text() + "".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("retro")
    hashes = directory / "hashes.txt"
    hashes.write_text("# known to be bad\n")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        scanner = stack.enter_context(clamd())
        port = free_port()
        services = f"icap://127.0.0.1:{port}/reqmod", f"icap://127.0.0.1:{port}/respmod"
        default = {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"}
        judges = [
            {"type": "clamd", "tcp": f"127.0.0.1:{scanner.port}"},
            {"type": "hashes", "files": [str(hashes)]},
        ]
        made = base_config(
            directory / "state",
            auditor=[auditor("inspect", web, *services)],
            tenant=[default, default | {"tenant_id": "other", "match": {"networks": [f"{OTHER}/32"]}}],
            icap_server={"listen": {"address": f"127.0.0.1:{port}"}, "scanners": judges},
            retro={
                "samples": {"tenants": ["default", "other"], "max_size": "1M"},
                "watch": [str(scanner.base / "db")],
                "rate": 5,
            },
        )
        yield Lab(stack.enter_context(running(made, directory)), web, scanner, hashes)


def digest(size: int) -> str:
    """The SHA-256 of what the origin has under ``/bytes/SIZE``."""
    return hashlib.sha256(payload(size)).hexdigest()


@pytest.mark.security
def test_d6_a_new_hash_alerts_on_exactly_the_flows_of_each_tenant(lab: Lab) -> None:
    first, second, bystander = "127.0.0.1", "127.0.0.4", "127.0.0.5"
    sha256, harmless = digest(4321), digest(1234)
    mine = lab.get("/bytes/4321", first, second)
    theirs = lab.get("/bytes/1234", OTHER, bystander)
    lab.known(sha256, 2)
    assert lab.command("list") == []
    lab.list_also(f"{sha256} Win.Test.Later")
    alert = wait_until(lambda: lab.alerts(sha256), 60, "the alert")[0]
    assert (alert["tenant_id"], alert["signature"], alert["reason"]) == ("default", "Win.Test.Later", "malware_found")
    told = {(flow["task"], flow["client"], flow["side"]) for flow in alert["flows"]}
    assert told == {(mine[0]["id"], first, "response"), (mine[1]["id"], second, "response")}
    assert all(flow["url"].startswith(f"{lab.web.tls_url}/bytes/4321") for flow in alert["flows"])
    assert lab.alerts(harmless) == []
    assert [body["sha256"] for body in lab.command("list")] == [sha256]
    assert lab.command("list", "--tenant", "other") == []
    assert {flow["task"] for flow in lab.command("show", harmless, "--tenant", "other")[0]["flows"]} == {theirs[0]["id"]}
    lab.list_also(f"{harmless} Win.Test.Both")
    alerts = wait_until(lambda: len(found := lab.alerts(harmless)) == 2 and found, 60, "an alert for each tenant")
    by_tenant = {each["tenant_id"]: [flow["task"] for flow in each["flows"]] for each in alerts}
    assert by_tenant == {"other": [theirs[0]["id"]], "default": [theirs[1]["id"]]}


@pytest.mark.security
def test_d6_new_signatures_find_what_was_delivered_and_the_alert_names_its_flows(lab: Lab) -> None:
    first, second, bystander = "127.0.0.1", "127.0.0.4", "127.0.0.5"
    body, sha256, harmless = payload(7001), digest(7001), digest(7002)
    mine, theirs = lab.get("/bytes/7001", first, second), lab.get("/bytes/7002", OTHER, bystander)
    assert mine[0]["samples"]["response"] == mine[1]["samples"]["response"]
    number = lab.sampled(sha256)
    assert number != lab.sampled(harmless) != lab.sampled(harmless, "other")
    for file in (lab.appliance.state / "samples").rglob("*"):
        assert not file.is_file() or (body not in file.read_bytes() and file.stat().st_mode & 0o077 == 0)
    lab.sign("Test.Retro.Later", body)
    alert = wait_until(lambda: lab.alerts(sha256), 120, "the alert")[0]
    assert (alert["tenant_id"], alert["signature"]) == ("default", "Test.Retro.Later.UNOFFICIAL")
    assert {(flow["task"], flow["client"]) for flow in alert["flows"]} == {(mine[0]["id"], first), (mine[1]["id"], second)}
    assert {flow["task"] for flow in alert["flows"]}.isdisjoint({event["id"] for event in theirs})
    assert (len(lab.alerts(sha256)), lab.alerts(harmless)) == (1, [])
    assert sha256 not in {bad["sha256"] for bad in lab.command("list", "--tenant", "other")}
    # a kept verdict is dropped: clamd says no new ISTag for a signature of one's own
    path = "/bytes/7001?again."
    url = lab.web.tls_url + path
    answer = wait_until(
        lambda: (got := lab.appliance.curl("--cacert", lab.appliance.ca(), url)).status == 403 and got, 60, "it is blocked now"
    )
    assert body not in answer.body


def test_d6_a_hunt_goes_on_where_it_was_after_kill_9(lab: Lab) -> None:
    """The admin process is killed in the middle; what was judged before is not judged again."""
    sizes = range(8001, 8013)
    for size in sizes:
        lab.get(f"/bytes/{size}", "127.0.0.1")
    store = SqliteStore(lab.appliance.state / "audit.db")
    ledger, search = RetroLedger(store), RetroSearch(store)

    def bodies() -> list[Body]:
        return [each for each in search.bodies(map(digest, sizes), "default") if each.sample]

    try:
        wait_until(lambda: len(bodies()) == len(sizes), what="all are known")
        [admin] = lab.appliance.child_pids("admin")
        newest = max(file.stat().st_ctime for file in (lab.clamd.base / "db").iterdir())
        wait_until(lambda: time.time() > newest + 65, 90, what="no hunt begins by itself")
        begun = time.time()
        ledger.change("default", since=begun, cause="asked", started_at=begun, ended_at=0.0)
        wait_until(lambda: any(body.judged_at >= begun for body in bodies()), what="the first is judged")
        os.kill(admin, signal.SIGKILL)
        before = {body.sha256: body.judged_at for body in bodies() if body.judged_at >= begun}
        assert 0 < len(before) < len(sizes)
        wait_until(lambda: ledger.waiting("default", begun) == 0, 120, "all are judged")
        after = {body.sha256: body.judged_at for body in bodies()}
    finally:
        store.close()
    assert lab.appliance.child_pids("admin") != [admin]
    assert {sha256: after[sha256] for sha256 in before} == before
    assert all(at >= begun for at in after.values())
