"""D6: retro-hunt through the whole appliance: what was delivered clean is found bad later, and the alert names the flows."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

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
    alert = wait_until(lambda: lab.alerts(sha256), 30, "the alert")[0]
    assert (alert["tenant_id"], alert["signature"], alert["reason"]) == ("default", "Win.Test.Later", "malware_found")
    told = {(flow["task"], flow["client"], flow["side"]) for flow in alert["flows"]}
    assert told == {(mine[0]["id"], first, "response"), (mine[1]["id"], second, "response")}
    assert all(flow["url"].startswith(f"{lab.web.tls_url}/bytes/4321") for flow in alert["flows"])
    assert lab.alerts(harmless) == []
    assert [body["sha256"] for body in lab.command("list")] == [sha256]
    assert lab.command("list", "--tenant", "other") == []
    assert {flow["task"] for flow in lab.command("show", harmless, "--tenant", "other")[0]["flows"]} == {theirs[0]["id"]}
    lab.list_also(f"{harmless} Win.Test.Both")
    alerts = wait_until(lambda: len(found := lab.alerts(harmless)) == 2 and found, 30, "an alert for each tenant")
    by_tenant = {each["tenant_id"]: [flow["task"] for flow in each["flows"]] for each in alerts}
    assert by_tenant == {"other": [theirs[0]["id"]], "default": [theirs[1]["id"]]}
